//! Committed offsets of one coordinator, by group, topic and partition.
//!
//! Concurrent commits may become durable in one order and be applied in another; the log decides: an entry is replaced
//! only by a record that stands later in `__consumer_offsets`.

use std::collections::BTreeMap;

use super::records::OffsetValue;

/// A committed offset and where its record stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// What was committed.
    pub value: OffsetValue,
    /// Offset of the record in its partition of `__consumer_offsets`.
    pub at: i64,
}

type ByPartition = BTreeMap<(String, i32), Committed>;

/// All committed offsets.
#[derive(Debug, Default)]
pub struct Offsets {
    groups: BTreeMap<String, ByPartition>,
    /// Where deleted groups ended: a commit that was under way then must not bring the group back.
    floors: BTreeMap<String, i64>,
}

/// Deleted groups remembered: commits under way are answered within seconds, so only the latest matter.
const FLOORS_MAX: usize = 10_000;

impl Offsets {
    /// Applies the record at log offset `at`; `None` is a tombstone.
    pub fn apply(&mut self, group: &str, topic: &str, partition: i32, value: Option<OffsetValue>, at: i64) {
        if self.floors.get(group).is_some_and(|floor| at < *floor) {
            return;
        }
        let key = (topic.to_owned(), partition);
        let Some(value) = value else {
            if let Some(entries) = self.groups.get_mut(group) {
                if entries.get(&key).is_some_and(|old| old.at < at) {
                    entries.remove(&key);
                }
                if entries.is_empty() {
                    self.groups.remove(group);
                }
            }
            return;
        };
        let entries = self.groups.entry(group.to_owned()).or_default();
        match entries.get(&key) {
            Some(old) if old.at > at => {}
            _ => {
                entries.insert(key, Committed { value, at });
            }
        }
    }

    /// Drops a group whose last tombstone stands at log offset `at`.
    pub fn remove_group(&mut self, group: &str, at: i64) {
        self.groups.remove(group);
        if self.floors.len() >= FLOORS_MAX {
            self.floors.pop_first();
        }
        self.floors.insert(group.to_owned(), at);
    }

    /// One committed offset.
    pub fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&OffsetValue> {
        let entries = self.groups.get(group)?;
        entries.get(&(topic.to_owned(), partition)).map(|c| &c.value)
    }

    /// All committed offsets of a group, sorted by topic and partition.
    pub fn of_group(&self, group: &str) -> impl Iterator<Item = (&str, i32, &OffsetValue)> {
        self.groups.get(group).into_iter().flatten().map(|((t, p), c)| (t.as_str(), *p, &c.value))
    }

    /// Whether the group has any committed offset.
    pub fn has_group(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    /// Names of groups that have committed offsets.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// Entries about a topic, in all groups: (group, partition).
    pub fn of_topic(&self, topic: &str) -> Vec<(String, i32)> {
        let all = self.groups.iter().flat_map(|(g, entries)| entries.keys().map(move |key| (g, key)));
        all.filter(|(_, (t, _))| t == topic).map(|(g, (_, p))| (g.clone(), *p)).collect()
    }

    /// Entries of a group committed at or before `until` (wall-clock milliseconds), topics that are still `read` aside.
    pub fn expired(&self, group: &str, until: i64, read: impl Fn(&str) -> bool) -> Vec<(String, i32)> {
        let entries = self.groups.get(group).into_iter().flatten();
        let old = entries.filter(|((topic, _), c)| c.value.commit_timestamp <= until && !read(topic));
        old.map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64, time: i64) -> OffsetValue {
        OffsetValue { offset, leader_epoch: -1, metadata: String::new(), commit_timestamp: time }
    }

    #[test]
    fn the_later_record_wins_whatever_the_order_of_arrival() {
        let mut offsets = Offsets::default();
        offsets.apply("g", "t", 0, Some(at(20, 2)), 8);
        offsets.apply("g", "t", 0, Some(at(10, 1)), 7);
        assert_eq!(offsets.get("g", "t", 0).unwrap().offset, 20);
        offsets.apply("g", "t", 0, None, 6);
        assert!(offsets.get("g", "t", 0).is_some(), "an older tombstone removes nothing");
        offsets.apply("g", "t", 0, None, 9);
        assert!(!offsets.has_group("g"));
    }

    #[test]
    fn a_commit_under_way_does_not_bring_a_deleted_group_back() {
        let mut offsets = Offsets::default();
        offsets.apply("g", "t", 0, Some(at(1, 1)), 3);
        offsets.remove_group("g", 6);
        offsets.apply("g", "t", 0, Some(at(2, 1)), 5);
        assert!(!offsets.has_group("g"));
        offsets.apply("g", "t", 0, Some(at(3, 1)), 7);
        assert!(offsets.has_group("g"));
    }

    #[test]
    fn expiry_and_topics_find_their_entries() {
        let mut offsets = Offsets::default();
        offsets.apply("g", "a", 0, Some(at(1, 10)), 0);
        offsets.apply("g", "b", 1, Some(at(1, 20)), 1);
        assert_eq!(offsets.expired("g", 19, |_| false), [("a".to_owned(), 0)]);
        assert_eq!(offsets.expired("g", 20, |topic| topic == "a"), [("b".to_owned(), 1)]);
        assert_eq!(offsets.of_topic("b"), [("g".to_owned(), 1)]);
        assert_eq!(offsets.of_group("g").count(), 2);
    }
}
