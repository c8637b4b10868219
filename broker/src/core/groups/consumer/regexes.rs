//! Subscriptions by regular expression (KIP-848): RE2 syntax, the whole name must match.

use std::collections::BTreeSet;

use causeway_wire::ErrorCode;
use regex::{Regex, RegexBuilder};

use super::records::{Record, Resolved};
use super::target::View;
use super::{Refusal, Topics, refuse};

/// Longest expression taken: names of topics have 249 characters, and a list of many alternatives still fits.
const PATTERN_BYTES_MAX: usize = 16 << 10;
/// A compiled expression may take so much memory; repetition counts multiply.
const COMPILED_BYTES_MAX: usize = 1 << 20;

fn compile(pattern: &str) -> Result<Regex, Refusal> {
    let invalid = |why: String| {
        refuse(
            ErrorCode::INVALID_REGULAR_EXPRESSION,
            format!("SubscribedTopicRegex `{pattern}` is not a valid regular expression: {why}."),
        )
    };
    if pattern.len() > PATTERN_BYTES_MAX {
        return refuse(
            ErrorCode::INVALID_REGULAR_EXPRESSION,
            format!("SubscribedTopicRegex is longer than {PATTERN_BYTES_MAX} bytes."),
        );
    }
    // First alone: `a)(b` must not become valid by what is put around it.
    let build = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).build();
    match build(pattern).and_then(|_| build(&format!("^(?:{pattern})$"))) {
        Ok(regex) => Ok(regex),
        Err(regex::Error::CompiledTooBig(_)) => invalid("it is too large".into()),
        Err(error) => {
            let text = error.to_string();
            invalid(text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
        }
    }
}

/// Resolves an expression against every topic.
pub(super) fn resolve(pattern: &str, topics: &dyn Topics, wall_ms: i64) -> Result<Resolved, Refusal> {
    let regex = compile(pattern)?;
    let matched: BTreeSet<String> = topics.names().filter(|name| regex.is_match(name)).map(str::to_owned).collect();
    Ok(Resolved { topics: matched, version: topics.version() as i64, timestamp: wall_ms })
}

impl View<'_> {
    /// Looks at changed expressions of the updated member, and at all of them if topics changed. Whether any subscription
    /// changed by it.
    pub fn update_regexes(
        &mut self,
        before: &str,
        topics: &dyn Topics,
        wall_ms: i64,
        records: &mut Vec<Record>,
    ) -> Result<bool, Refusal> {
        let after = self.updated.map_or("", |m| m.meta.regex.as_str());
        let mut changed = before != after;
        if changed && !before.is_empty() && self.group.regex_subscribers(before) <= 1 {
            records.push(Record::Regex(before.to_owned(), None));
            self.regexes.to_mut().remove(before);
        }
        if changed && !after.is_empty() && !self.regexes.contains_key(after) {
            let resolved = resolve(after, topics, wall_ms)?;
            records.push(Record::Regex(after.to_owned(), Some(resolved.clone())));
            self.regexes.to_mut().insert(after.to_owned(), resolved);
        }
        if self.group.seen == Some(topics.version()) {
            return Ok(changed);
        }
        let known: Vec<String> = self.regexes.keys().cloned().collect();
        for pattern in known {
            let resolved = resolve(&pattern, topics, wall_ms)?;
            if self.regexes[&pattern].topics != resolved.topics {
                changed = true;
                records.push(Record::Regex(pattern.clone(), Some(resolved.clone())));
                self.regexes.to_mut().insert(pattern, resolved);
            }
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_whole_names_and_bad_ones_are_named() {
        let regex = compile("a|bc").unwrap();
        assert!(regex.is_match("bc") && regex.is_match("a") && !regex.is_match("abc"));
        for bad in ["(", "a)(b", "[", "*a", "(?<=x)y", r"(a)\1", "a{100000}{1000}"] {
            let refusal = compile(bad).unwrap_err();
            assert_eq!(refusal.code, ErrorCode::INVALID_REGULAR_EXPRESSION, "{bad}");
        }
        assert!(compile(&"a".repeat(PATTERN_BYTES_MAX + 1)).is_err());
    }
}
