//! Values as `Debug` shows them, read back: two crates' structs compared field by field, by name.

#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// Number, string, bytes, `None`, `true`.
    Leaf(String),
    List(Vec<Tree>),
    Struct(Vec<(String, Tree)>),
}

/// Fields that the other crate has and Kafka 4.3's stable versions have not: its store for unknown tags, and two-phase commit (KIP-939, unstable).
const THEIRS_ALONE: &[&str] = &[
    "unknown_tagged_fields",
    "enable_2_pc",
    "keep_prepared_txn",
    "ongoing_txn_producer_id",
    "ongoing_txn_producer_epoch",
];

impl Tree {
    pub fn parse(text: &str) -> Tree {
        let mut rest = text;
        let tree = parse(&mut rest);
        assert!(rest.is_empty(), "unread: {rest}");
        tree
    }

    /// Whether all that stands in `other` stands here too; fields that only we have may be added.
    pub fn includes(&self, other: &Tree) -> Result<(), String> {
        match (self, other) {
            (Tree::Struct(ours), Tree::Struct(theirs)) => {
                for (name, value) in theirs.iter().filter(|(name, _)| !THEIRS_ALONE.contains(&name.as_str())) {
                    let found = ours.iter().find(|(ours, _)| normal(ours) == normal(name));
                    let (_, found) = found.ok_or_else(|| format!("we have no field {name}"))?;
                    found.includes(value).map_err(|e| format!("{name}: {e}"))?;
                }
                Ok(())
            }
            (Tree::List(ours), Tree::List(theirs)) if ours.len() == theirs.len() => {
                ours.iter().zip(theirs).try_for_each(|(ours, theirs)| ours.includes(theirs))
            }
            (Tree::Leaf(ours), Tree::Leaf(theirs)) if normal_leaf(ours) == normal_leaf(theirs) => Ok(()),
            _ => Err(format!("{self:?} here, {other:?} there")),
        }
    }
}

fn normal(name: &str) -> String {
    name.trim_start_matches("r#").trim_end_matches('_').replace('_', "")
}

/// UUIDs stand here in base64url, there in hexadecimal.
fn normal_leaf(leaf: &str) -> String {
    match leaf.parse::<causeway_wire::Uuid>() {
        Ok(id) => id.0.iter().map(|byte| format!("{byte:02x}")).collect(),
        Err(_) if leaf.len() == 36 && leaf.matches('-').count() == 4 => leaf.replace('-', ""),
        Err(_) => leaf.to_owned(),
    }
}

fn parse(rest: &mut &str) -> Tree {
    *rest = rest.trim_start();
    if rest.starts_with('[') {
        return Tree::List(items(rest, ']', parse));
    }
    if rest.starts_with("{}") {
        return Tree::List(take(rest, 2).1);
    }
    if rest.starts_with('"') || rest.starts_with("b\"") {
        return Tree::Leaf(quoted(rest));
    }
    let word = rest.find([' ', ',', '(', ')', ']', '}', '{']).unwrap_or(rest.len());
    let word = take::<()>(rest, word).0;
    let named = word.starts_with(|c: char| c.is_ascii_uppercase());
    if named && rest.starts_with(" {") {
        *rest = &rest[1..];
        return Tree::Struct(items(rest, '}', |rest| {
            *rest = rest.trim_start();
            let colon = rest.find(':').expect("a field has a colon");
            let name = take::<()>(rest, colon + 1).0;
            (name.trim_end_matches(':').to_owned(), parse(rest))
        }));
    }
    if named && rest.starts_with('(') {
        // `Some(x)` and newtypes: the wrapper says nothing that the value does not.
        return items(rest, ')', parse).pop().expect("a tuple struct holds a value");
    }
    Tree::Leaf(word)
}

fn items<T>(rest: &mut &str, end: char, mut item: impl FnMut(&mut &str) -> T) -> Vec<T> {
    *rest = &rest[1..];
    let mut found = Vec::new();
    loop {
        *rest = rest.trim_start_matches([' ', ',']);
        if rest.starts_with(end) {
            *rest = &rest[1..];
            return found;
        }
        found.push(item(rest));
    }
}

fn quoted(rest: &mut &str) -> String {
    let start = rest.find('"').expect("it starts with a quote") + 1;
    let mut escaped = false;
    for (i, c) in rest[start..].char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return take::<()>(rest, start + i + 1).0,
            _ => escaped = false,
        }
    }
    panic!("open quote in {rest}");
}

fn take<T>(rest: &mut &str, len: usize) -> (String, Vec<T>) {
    let (word, after) = rest.split_at(len);
    *rest = after;
    (word.to_owned(), Vec::new())
}
