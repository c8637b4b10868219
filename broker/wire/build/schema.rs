//! The compact description form: parsed into plain values, checked as it is read.

use std::collections::BTreeSet;

/// Inclusive version range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub low: i16,
    pub high: i16,
}

impl Range {
    pub fn contains(&self, version: i16) -> bool {
        (self.low..=self.high).contains(&version)
    }

    pub fn versions(&self) -> impl Iterator<Item = i16> + use<> {
        self.low..=self.high
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U16,
    U32,
    F64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
    Array(Box<Type>),
}

#[derive(Clone, Debug)]
pub struct Field {
    pub name: String,
    pub ty: Type,
    /// Versions that carry the field.
    pub versions: Range,
    /// Versions where null is legal.
    pub nullable: Option<Range>,
    /// Literal of the default; none: zero, empty, false, or null where nullable.
    pub default: Option<String>,
    pub tag: Option<u32>,
    /// A value other than the default may not be dropped silently by a version without the field.
    pub strict: bool,
}

#[derive(Clone, Debug)]
pub struct Struct {
    pub name: String,
    pub fields: Vec<Field>,
}

/// One message: its structs, the outermost first.
#[derive(Clone, Debug)]
pub struct Message {
    pub versions: Range,
    pub flexible: Option<i16>,
    pub structs: Vec<Struct>,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Api { key: i16, request: Message, response: Message },
    Data { message: Message },
}

#[derive(Clone, Debug)]
pub struct File {
    pub name: String,
    pub kind: Kind,
}

struct Line<'a> {
    depth: usize,
    words: Vec<&'a str>,
}

pub fn parse(text: &str) -> Result<File, String> {
    let lines: Vec<Line> = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default())
        .filter(|line| !line.trim().is_empty())
        .map(|line| Line {
            depth: (line.len() - line.trim_start().len()) / 2,
            words: line.split_whitespace().collect(),
        })
        .collect();
    let mut heads: Vec<usize> = (0..lines.len()).filter(|&i| lines[i].depth == 0).collect();
    heads.push(lines.len());
    let section = |n: usize, name: &str| message(&lines[heads[n]..heads[n + 1]], name);
    match lines.first().map(|line| line.words.as_slice()) {
        Some(["api", name, key]) if heads.len() == 4 => Ok(File {
            name: (*name).to_owned(),
            kind: Kind::Api {
                key: number(key)?,
                request: section(1, &format!("{name}Request"))?,
                response: section(2, &format!("{name}Response"))?,
            },
        }),
        Some(["data", name, ..]) if heads.len() == 2 => {
            Ok(File { name: (*name).to_owned(), kind: Kind::Data { message: section(0, name)? } })
        }
        _ => Err("wants `api Name key`, `request ...`, `response ...`, or `data Name ...`".to_owned()),
    }
}

fn message(lines: &[Line], name: &str) -> Result<Message, String> {
    let head = &lines[0].words;
    let versions_at = if head[0] == "data" { 2 } else { 1 };
    let versions = range(head.get(versions_at).ok_or("no versions")?, i16::MAX)?;
    let flexible = match head[versions_at + 1..] {
        ["flexible", from] => Some(range(from, versions.high)?.low),
        [] => None,
        _ => return Err(format!("cannot read {head:?}")),
    };
    let mut structs = vec![Struct { name: name.to_owned(), fields: Vec::new() }];
    // Names of the structs that the current line is nested in, by depth: a field at depth d belongs to open[d - 1].
    let mut open = vec![0usize];
    let mut names = BTreeSet::new();
    for line in &lines[1..] {
        if line.depth == 0 || line.depth > open.len() {
            return Err(format!("bad indent at {:?}", line.words));
        }
        open.truncate(line.depth);
        let field = field(&line.words, versions)?;
        if let Some(inner) = field.ty.struct_name()
            && names.insert(inner.to_owned())
        {
            open.push(structs.len());
            structs.push(Struct { name: inner.to_owned(), fields: Vec::new() });
        }
        structs[open[line.depth - 1]].fields.push(field);
    }
    Ok(Message { versions, flexible, structs })
}

fn field(words: &[&str], scope: Range) -> Result<Field, String> {
    let [name, ty, rest @ ..] = words else { return Err(format!("{words:?}: wants a name and a type")) };
    let mut field = Field {
        name: (*name).to_owned(),
        ty: type_of(ty),
        versions: scope,
        nullable: None,
        default: None,
        tag: None,
        strict: false,
    };
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match *word {
            "strict" => field.strict = true,
            "tag" => field.tag = Some(number(rest.next().ok_or("tag wants a number")?)?),
            "=" => field.default = Some((*rest.next().ok_or("= wants a value")?).to_owned()),
            "?" => field.nullable = Some(field.versions),
            null if null.starts_with('?') => field.nullable = Some(range(&null[1..], scope.high)?),
            other => field.versions = range(other, scope.high)?,
        }
    }
    Ok(field)
}

fn type_of(word: &str) -> Type {
    match word {
        "bool" => Type::Bool,
        "i8" => Type::I8,
        "i16" => Type::I16,
        "i32" => Type::I32,
        "i64" => Type::I64,
        "u16" => Type::U16,
        "u32" => Type::U32,
        "f64" => Type::F64,
        "uuid" => Type::Uuid,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "records" => Type::Records,
        _ => match word.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')) {
            Some(inner) => Type::Array(Box::new(type_of(inner))),
            None => Type::Struct(word.to_owned()),
        },
    }
}

fn range(word: &str, high: i16) -> Result<Range, String> {
    let (low, high) = match (word.strip_suffix('+'), word.split_once('-')) {
        (Some(low), _) => (number(low)?, high),
        (None, Some((low, high))) => (number(low)?, number(high)?),
        (None, None) => (number(word)?, number(word)?),
    };
    if low <= high { Ok(Range { low, high }) } else { Err(format!("empty range {word}")) }
}

fn number<T: std::str::FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("`{word}` is not a number"))
}

impl Type {
    /// Name of the struct this is, or is an array of.
    pub fn struct_name(&self) -> Option<&str> {
        match self {
            Type::Struct(name) => Some(name),
            Type::Array(inner) => inner.struct_name(),
            _ => None,
        }
    }
}
