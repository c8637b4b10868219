//! Patterns for names of topics and groups: globs, and regular expressions behind `re:`.

use globset::{GlobBuilder, GlobMatcher};
use regex::{Regex, RegexBuilder};

/// A compiled regular expression stays below this (bytes): a pattern must not be able to eat the machine.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// An include and an exclude list over names.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl Patterns {
    /// Takes what some `include` matches and no `exclude` does.
    pub fn new(include: Vec<Pattern>, exclude: Vec<Pattern>) -> Self {
        Self { include, exclude }
    }

    /// Whether `name` is taken.
    pub fn matches(&self, name: &str) -> bool {
        self.include.iter().any(|pattern| pattern.matches(name)) && !self.excluded(name)
    }

    /// Whether nothing at all can match.
    pub fn is_empty(&self) -> bool {
        self.include.is_empty()
    }

    /// The texts of the include list, as written.
    pub fn include(&self) -> impl Iterator<Item = &str> {
        self.include.iter().map(|pattern| pattern.text.as_str())
    }

    /// The texts of the exclude list, as written.
    pub fn exclude(&self) -> impl Iterator<Item = &str> {
        self.exclude.iter().map(|pattern| pattern.text.as_str())
    }

    fn excluded(&self, name: &str) -> bool {
        self.exclude.iter().any(|pattern| pattern.matches(name))
    }
}

/// One glob or regular expression; it must match the whole name.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    matcher: Matcher,
}

#[derive(Debug, Clone)]
enum Matcher {
    Glob(GlobMatcher),
    Regex(Regex),
}

impl Pattern {
    /// Reads `orders.*` as a glob and `re:orders\..+` as a regular expression.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn parse(text: &str) -> Result<Self, String> {
        let matcher = match text.strip_prefix("re:") {
            Some(expression) => Matcher::Regex(
                RegexBuilder::new(&format!("^(?:{expression})$")).size_limit(REGEX_BYTES_MAX).build().map_err(
                    |error| format!("`{text}` is not a regular expression: {}", last_line(&error.to_string())),
                )?,
            ),
            None if text.is_empty() => {
                return Err("an empty pattern matches nothing: remove it, or write `*`".to_owned());
            }
            None => Matcher::Glob(
                GlobBuilder::new(text)
                    .build()
                    .map_err(|error| format!("`{text}` is not a glob: {}", error.kind()))?
                    .compile_matcher(),
            ),
        };
        Ok(Self { text: text.to_owned(), matcher })
    }

    /// Whether the whole of `name` matches.
    pub fn matches(&self, name: &str) -> bool {
        match &self.matcher {
            Matcher::Glob(glob) => glob.is_match(name),
            Matcher::Regex(regex) => regex.is_match(name),
        }
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn last_line(message: &str) -> &str {
    message.lines().last().unwrap_or(message).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(include: &[&str], exclude: &[&str]) -> Patterns {
        let all = |texts: &[&str]| texts.iter().map(|text| Pattern::parse(text).unwrap()).collect();
        Patterns::new(all(include), all(exclude))
    }

    #[test]
    fn a_pattern_matches_whole_names_only() {
        let rules = patterns(&["orders.*", "re:pay(ments)?"], &["*.tmp"]);
        for (name, taken) in [
            ("orders.eu", true),
            ("orders.eu.v1", true),
            ("orders", false),
            ("my.orders.eu", false),
            ("orders.tmp", false),
            ("payments", true),
            ("payments2", false),
        ] {
            assert_eq!(rules.matches(name), taken, "{name}");
        }
    }

    #[test]
    fn a_star_takes_every_legal_topic_name() {
        let rules = patterns(&["*"], &[]);
        for name in ["a", "a.b", ".hidden", "__x", "UPPER-case_1"] {
            assert!(rules.matches(name), "{name}");
        }
        assert!(!patterns(&[], &[]).matches("a"));
    }

    #[test]
    fn a_bad_pattern_says_which_and_why() {
        for bad in ["re:(", "[a", "", "re:\\w{1000}{1000}"] {
            let message = Pattern::parse(bad).unwrap_err();
            assert!(message.contains(bad), "{message}");
        }
    }
}
