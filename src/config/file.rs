//! One TOML file as a layer: read, checked against the grammar, with the line and column of every value as its origin.

use std::ops::Range;
use std::path::Path;

use config::{Map, Value, ValueKind};
use toml_edit::{Document, Item, TableLike};

use super::error::Problem;
use super::grammar::{ROOT, Shape, hint};

/// A configuration is written by hand; a larger file is some other file (bytes).
pub const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads `path`. `problems` takes what is wrong; what is right is returned all the same, so that one run shows everything.
pub fn read(path: &Path, problems: &mut Vec<Problem>) -> Map<String, Value> {
    let name = path.display().to_string();
    let text = match read_text(path) {
        Ok(text) => text,
        Err(message) => {
            problems.push(Problem::new(Some(name), "", message));
            return Map::new();
        }
    };
    parse(&name, &text, problems)
}

fn read_text(path: &Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("has {size} bytes, more than the {FILE_BYTES_MAX} a configuration may have"));
    }
    std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))
}

/// Turns the TOML `text` of a file called `name` into a layer.
pub fn parse(name: &str, text: &str, problems: &mut Vec<Problem>) -> Map<String, Value> {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => {
            let at = error.span().map_or_else(|| name.to_owned(), |span| origin(name, text, &span));
            problems.push(Problem::new(Some(at), "", format!("is not TOML: {}", error.message().trim())));
            return Map::new();
        }
    };
    let mut layer = Layer { name, text, problems };
    layer.table(document.as_table(), ROOT, "")
}

fn origin(name: &str, text: &str, span: &Range<usize>) -> String {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |rest| rest.chars().count()) + 1;
    format!("{name}:{line}:{column}")
}

struct Layer<'a> {
    name: &'a str,
    text: &'a str,
    problems: &'a mut Vec<Problem>,
}

impl Layer<'_> {
    fn at(&self, span: Option<Range<usize>>) -> String {
        span.map_or_else(|| self.name.to_owned(), |span| origin(self.name, self.text, &span))
    }

    fn table(&mut self, table: &dyn TableLike, shape: Shape, path: &str) -> Map<String, Value> {
        let mut map = Map::new();
        for (key, item) in table.iter() {
            let key_path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
            let span = table.key(key).and_then(toml_edit::Key::span).or_else(|| item.span());
            let at = self.at(span);
            match shape.child(key) {
                None => {
                    let message = format!("unknown key `{key}`{}", hint(key, &shape.keys()));
                    self.problems.push(Problem::new(Some(at), key_path, message));
                }
                Some(child) => {
                    if let Some(kind) = self.item(item, child, &key_path, &at) {
                        map.insert(key.to_owned(), Value::new(Some(&at), kind));
                    }
                }
            }
        }
        map
    }

    fn item(&mut self, item: &Item, shape: Shape, path: &str, at: &str) -> Option<ValueKind> {
        let kind = match shape {
            Shape::Table(_) | Shape::Map(_) => {
                item.as_table_like().map(|table| ValueKind::Table(self.table(table, shape, path)))
            }
            Shape::Named(inner) => return self.named(item, *inner, path, at),
            Shape::Text => item.as_str().map(text_kind),
            Shape::Scalar => scalar(item),
            Shape::Moment => scalar(item).or_else(|| item.as_datetime().map(|moment| text_kind(&moment.to_string()))),
            Shape::List => self.list(item),
            Shape::TextOrList => match item.as_str() {
                Some(text) => Some(text_kind(text)),
                None => self.list(item),
            },
            Shape::Rules => match item.as_table_like() {
                Some(table) => Some(ValueKind::Table(self.table(table, shape, path))),
                None => {
                    // A bare list is the include list: one form from here on.
                    let include = self.list(item);
                    include.map(|kind| {
                        ValueKind::Table(Map::from_iter([(
                            "include".to_owned(),
                            Value::new(Some(&at.to_owned()), kind),
                        )]))
                    })
                }
            },
        };
        if kind.is_none() {
            let message = format!("expected {}, found {}", shape.expected(), item.type_name());
            self.problems.push(Problem::new(Some(at.to_owned()), path, message));
        }
        kind
    }

    fn list(&self, item: &Item) -> Option<ValueKind> {
        let mut values = Vec::new();
        for element in item.as_array()? {
            let at = self.at(element.span());
            values.push(Value::new(Some(&at), text_kind(element.as_str()?)));
        }
        Some(ValueKind::Array(values))
    }

    /// `[[flows]]` becomes a table by name, so that a later layer can speak about one flow.
    fn named(&mut self, item: &Item, inner: Shape, path: &str, at: &str) -> Option<ValueKind> {
        let tables: Vec<&dyn TableLike> = if let Some(tables) = item.as_array_of_tables() {
            tables.iter().map(|table| table as &dyn TableLike).collect()
        } else if let Some(array) = item.as_array() {
            array.iter().filter_map(|value| value.as_inline_table().map(|table| table as &dyn TableLike)).collect()
        } else {
            let message = format!("expected {}, found {}", Shape::Named(&ROOT).expected(), item.type_name());
            self.problems.push(Problem::new(Some(at.to_owned()), path, message));
            return None;
        };
        let mut map: Map<String, Value> = Map::new();
        for (index, table) in tables.into_iter().enumerate() {
            let first = table.iter().next().and_then(|(key, _)| table.key(key)).and_then(toml_edit::Key::span);
            let at = self.at(first);
            let Some(name) = table.get("name").and_then(Item::as_str) else {
                let message = "has no `name`: give every flow one, it stands in metrics, commands and topic names";
                self.problems.push(Problem::new(Some(at), format!("{path}[{index}]"), message));
                continue;
            };
            let key_path = format!("{path}.{name}");
            if map.contains_key(name) {
                let message = "this name is already taken by another flow of the same file";
                self.problems.push(Problem::new(Some(at), key_path, message));
                continue;
            }
            let fields = self.table(table, inner, &key_path);
            map.insert(name.to_owned(), Value::new(Some(&at), ValueKind::Table(fields)));
        }
        Some(ValueKind::Table(map))
    }
}

fn text_kind(text: &str) -> ValueKind {
    ValueKind::String(text.to_owned())
}

fn scalar(item: &Item) -> Option<ValueKind> {
    let text = match (item.as_str(), item.as_integer(), item.as_float(), item.as_bool()) {
        (Some(text), ..) => text.to_owned(),
        (_, Some(number), ..) => number.to_string(),
        (_, _, Some(number), _) => number.to_string(),
        (.., Some(flag)) => flag.to_string(),
        _ => return None,
    };
    Some(ValueKind::String(text))
}
