//! Java `.properties` files, as `server.properties` is one.
//!
//! Grammar as `java.util.Properties.load`: comments with `#` or `!`, keys ended by `=`, `:` or white space, a backslash at
//! the end of a line continues it, `\t \n \r \f \uXXXX` and escaped separators. A later line of the same key wins.

use thiserror::Error;

/// A line that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PropertiesError {
    /// `\u` not followed by four hexadecimal digits.
    #[error("line {line}: \\u must be followed by four hexadecimal digits")]
    BadUnicode {
        /// 1-based number of the line.
        line: usize,
    },
    /// An override without `=`.
    #[error("override {text:?} is not of the form key=value")]
    BadOverride {
        /// What was given.
        text: String,
    },
}

/// Settings in the order given; look-ups see the last value of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    entries: Vec<(String, String)>,
}

impl Properties {
    /// Parses the text of a `.properties` file.
    pub fn parse(text: &str) -> Result<Self, PropertiesError> {
        let mut entries = Vec::new();
        for (line, logical) in logical_lines(text) {
            let (key, value) = split_entry(&logical);
            entries.push((unescape(key, line)?, unescape(value, line)?));
        }
        Ok(Self { entries })
    }

    /// Adds or replaces one setting.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let (key, value) = (key.into(), value.into());
        self.entries.retain(|(k, _)| *k != key);
        self.entries.push((key, value));
    }

    /// Adds or replaces one setting given as `key=value` (the form of `--override`).
    pub fn set_override(&mut self, text: &str) -> Result<(), PropertiesError> {
        let Some((key, value)) = text.split_once('=') else {
            return Err(PropertiesError::BadOverride { text: text.to_owned() });
        };
        self.set(key.trim(), value.trim());
        Ok(())
    }

    /// The last value given for `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// All settings in the order given, a repeated key more than once.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.entries.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

/// Joins continued lines and drops comments and blank lines; yields the number of each first line.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (i, raw) in text.lines().enumerate() {
        let line = raw.trim_start_matches([' ', '\t', '\x0c']);
        if open.is_none() && (line.is_empty() || line.starts_with(['#', '!'])) {
            continue;
        }
        let (number, mut joined) = open.take().unwrap_or((i + 1, String::new()));
        let backslashes = line.bytes().rev().take_while(|b| *b == b'\\').count();
        if backslashes % 2 == 1 {
            joined.push_str(&line[..line.len() - 1]);
            open = Some((number, joined));
        } else {
            joined.push_str(line);
            out.push((number, joined));
        }
    }
    out.extend(open);
    out
}

/// Splits a logical line at the first separator that is not escaped.
fn split_entry(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (i, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '=' | ':' => return (&line[..i], line[i + 1..].trim_start()),
            c if c.is_ascii_whitespace() => {
                let rest = line[i..].trim_start();
                return (&line[..i], rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start());
            }
            _ => {}
        }
    }
    (line, "")
}

fn unescape(text: &str, line: usize) -> Result<String, PropertiesError> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => out.push('\t'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('f') => out.push('\x0c'),
            Some('u') => {
                let hex: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == 4);
                let c = code.and_then(char::from_u32).ok_or(PropertiesError::BadUnicode { line })?;
                out.push(c);
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
    // Java keeps trailing blanks; every Kafka setting is trimmed by its parser, so they are dropped here once.
    Ok(out.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_java_reads() {
        let text = "# a comment\n! another\n\nnode.id=1\nlisteners = PLAINTEXT://:9092,\\\n   CONTROLLER://:9093\nkey\\ one: v\\u0041\nlonely\nnum.partitions 3\n";
        let p = Properties::parse(text).unwrap();
        assert_eq!(p.get("node.id"), Some("1"));
        assert_eq!(p.get("listeners"), Some("PLAINTEXT://:9092,CONTROLLER://:9093"));
        assert_eq!(p.get("key one"), Some("vA"));
        assert_eq!(p.get("lonely"), Some(""));
        assert_eq!(p.get("num.partitions"), Some("3"));
    }

    #[test]
    fn the_last_value_wins_and_overrides_replace() {
        let mut p = Properties::parse("a=1\na=2\n").unwrap();
        assert_eq!(p.get("a"), Some("2"));
        p.set_override("a=b=c").unwrap();
        assert_eq!(p.get("a"), Some("b=c"));
        assert!(matches!(p.set_override("nope"), Err(PropertiesError::BadOverride { .. })));
    }

    #[test]
    fn a_bad_escape_names_its_line() {
        assert_eq!(Properties::parse("x=1\ny=\\u12"), Err(PropertiesError::BadUnicode { line: 2 }));
    }
}
