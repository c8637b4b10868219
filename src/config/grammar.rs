//! The closed set of keys: what may stand where, and of which kind. Every layer is checked against it before the layers are merged.

/// What a place in the configuration holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A table with exactly these keys, each optional here (`check` knows what is required).
    Table(&'static [(&'static str, Shape)]),
    /// A table with keys of the operator's choice, all of one shape.
    Map(&'static Shape),
    /// A list of tables, addressed by their `name` (`[[flows]]`).
    Named(&'static Shape),
    /// A string.
    Text,
    /// A string, or an integer, float or boolean that is read as its text.
    Scalar,
    /// A string or a date-time or an integer.
    Moment,
    /// A list of strings.
    List,
    /// A string, or a list of strings.
    TextOrList,
    /// A list of strings, or the table of an include and an exclude list.
    Rules,
}

const RULES: &[(&str, Shape)] = &[("include", Shape::List), ("exclude", Shape::List)];

const CLUSTER: Shape = Shape::Table(&[
    ("bootstrap", Shape::TextOrList),
    ("cluster_id", Shape::Text),
    ("client", Shape::Map(&Shape::Scalar)),
    ("tls", Shape::Table(&[("ca", Shape::Text), ("cert", Shape::Text), ("key", Shape::Text)])),
    ("sasl", Shape::Table(&[("mechanism", Shape::Text), ("user", Shape::Text), ("password", Shape::Text)])),
]);

const FLOW: Shape = Shape::Table(&[
    ("name", Shape::Text),
    ("from", Shape::Text),
    ("to", Shape::Text),
    ("topics", Shape::Rules),
    ("naming", Shape::Text),
    ("groups", Shape::Rules),
    ("delivery", Shape::Text),
    ("engine", Shape::Text),
    ("start", Shape::Moment),
    ("gap_policy", Shape::Text),
    ("objectives", Shape::Table(&[("rpo", Shape::Text), ("rto", Shape::Text)])),
    ("refresh", Shape::Table(&[("topics", Shape::Text), ("groups", Shape::Text), ("heartbeats", Shape::Text)])),
]);

/// The whole file.
pub const ROOT: Shape = Shape::Table(&[
    ("clusters", Shape::Map(&CLUSTER)),
    ("flows", Shape::Named(&FLOW)),
    ("admin", Shape::Table(&[("listen", Shape::Text)])),
    ("store", Shape::Table(&[("dir", Shape::Text)])),
    ("log", Shape::Table(&[("format", Shape::Text), ("level", Shape::Text)])),
]);

impl Shape {
    /// The shape under `key`, or `None` where no such key exists.
    pub fn child(&self, key: &str) -> Option<Shape> {
        match self {
            Shape::Table(fields) => fields.iter().find(|(name, _)| *name == key).map(|(_, shape)| *shape),
            Shape::Map(shape) => Some(**shape),
            Shape::Rules => RULES.iter().find(|(name, _)| *name == key).map(|(_, shape)| *shape),
            _ => None,
        }
    }

    /// The keys that may stand here; empty where the operator chooses them.
    pub fn keys(&self) -> Vec<&'static str> {
        match self {
            Shape::Table(fields) => fields.iter().map(|(name, _)| *name).collect(),
            Shape::Rules => RULES.iter().map(|(name, _)| *name).collect(),
            _ => Vec::new(),
        }
    }

    /// What the operator should have written, for messages.
    pub fn expected(&self) -> &'static str {
        match self {
            Shape::Table(_) | Shape::Map(_) => "a table",
            Shape::Named(_) => "a list of tables (`[[flows]]`)",
            Shape::Text => "a string",
            Shape::Scalar => "a string, a number or a boolean",
            Shape::Moment => "`earliest`, `latest`, a time such as 2026-01-31T08:00:00Z, or milliseconds since 1970",
            Shape::List => "a list of strings",
            Shape::TextOrList => "a string or a list of strings",
            Shape::Rules => "a list of patterns, or a table with `include` and `exclude`",
        }
    }
}

/// Typos further away than this get no suggestion: a wild guess is worse than none.
const DISTANCE_MAX: usize = 3;

/// The candidate that `word` was most likely meant to be.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= DISTANCE_MAX.min(candidate.len() / 2 + 1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean ...?`, or the list of what may stand here when nothing is near.
pub fn hint(word: &str, candidates: &[&str]) -> String {
    match nearest(word, candidates.iter().copied()) {
        Some(near) => format!("; did you mean `{near}`?"),
        None if candidates.is_empty() => String::new(),
        None => format!("; known here: {}", candidates.join(", ")),
    }
}

/// Levenshtein distance in bytes, case ignored.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_ascii_lowercase().into_bytes(), b.to_ascii_lowercase().into_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_suggested_and_a_far_one_is_not() {
        assert_eq!(nearest("bootstap", CLUSTER.keys()), Some("bootstrap"));
        assert_eq!(nearest("Naming", FLOW.keys()), Some("naming"));
        assert_eq!(nearest("replication_factor", FLOW.keys()), None);
        assert_eq!(hint("replication", &["from", "to"]), "; known here: from, to");
    }
}
