//! Values that must not be seen: given by reference, never printed.

use std::fmt;
use std::path::Path;

/// A password file holds one line; more than this is some other file (bytes).
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// A value whose text never reaches a log, an error or a debug print.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text that is secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that must have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Whether `text` refers to a secret instead of being one.
pub fn is_reference(text: &str) -> bool {
    text.starts_with("env:") || text.starts_with("file:")
}

/// Reads what `env:NAME` or `file:PATH` points at; a line end at the end of a file is not part of the secret.
///
/// # Errors
/// When `text` is no reference, or what it points at is missing, empty or unreadable. The message never holds a secret.
pub fn resolve(text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret, String> {
    if let Some(name) = text.strip_prefix("env:") {
        return match env(name) {
            Some(value) if !value.is_empty() => Ok(Secret(value)),
            Some(_) => Err(format!("the environment variable {name} is empty")),
            None => Err(format!("the environment variable {name} is not set")),
        };
    }
    if let Some(path) = text.strip_prefix("file:") {
        return from_file(Path::new(path)).map_err(|error| format!("{path}: {error}"));
    }
    Err("a secret is given as `env:NAME` or `file:PATH`, never in the file itself".to_owned())
}

fn from_file(path: &Path) -> Result<Secret, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > SECRET_BYTES_MAX {
        return Err(format!("has {size} bytes, more than the {SECRET_BYTES_MAX} a secret may have"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(Secret(text.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_by_reference_and_never_shown() {
        let env = |name: &str| (name == "PW").then(|| "hunter2".to_owned());
        let secret = resolve("env:PW", &env).unwrap();
        assert_eq!(secret.reveal(), "hunter2");
        assert_eq!(format!("{secret:?}"), "<secret>");
        assert!(resolve("env:NOPE", &env).unwrap_err().contains("NOPE"));
        let literal = resolve("hunter2", &env).unwrap_err();
        assert!(!literal.contains("hunter2"), "{literal}");
    }

    #[test]
    fn a_secret_file_loses_its_line_end_and_an_empty_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pw");
        std::fs::write(&path, "hunter2\n").unwrap();
        let none = |_: &str| None;
        assert_eq!(resolve(&format!("file:{}", path.display()), &none).unwrap().reveal(), "hunter2");
        std::fs::write(&path, "\n").unwrap();
        assert!(resolve(&format!("file:{}", path.display()), &none).unwrap_err().contains("empty"));
    }
}
