//! Which part of a log may be cleaned, whether it is due, and which segments become one.

/// A segment as far as decisions go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Its first offset.
    pub base: i64,
    /// First offset of the segment after it.
    pub next: i64,
    /// Bytes of its log file.
    pub bytes: u64,
    /// Bytes of its larger index.
    pub index_bytes: u64,
    /// Largest record time, or time of the last change if no record has one; ms.
    pub max_time_ms: i64,
    /// Largest time of the first batch, ms; only told for segments that may be dirty, if `max.compaction.lag.ms` is set.
    pub first_time_ms: Option<i64>,
}

/// A log as far as decisions go.
#[derive(Debug, Clone)]
pub struct LogFacts {
    /// All segments but the active one.
    pub sealed: Vec<SegmentFacts>,
    /// First offset of the active segment.
    pub active_base: i64,
    /// Log start offset.
    pub start: i64,
    /// Log end offset.
    pub end: i64,
    /// Bound of what is decided: the last stable offset (which is never above the high watermark), and what is known to be on the disk.
    pub stable: i64,
    /// Cleaned up to here, by the checkpoint.
    pub cleaned_to: Option<i64>,
}

/// Settings of a topic that compaction follows.
#[derive(Debug, Clone, Copy)]
pub struct LagBounds {
    /// `min.compaction.lag.ms`: younger segments stay as they are.
    pub min_ms: i64,
    /// `max.compaction.lag.ms`: older records are compacted however small their part of the log.
    pub max_ms: i64,
    /// `min.cleanable.dirty.ratio`.
    pub dirty_ratio_min: f64,
}

/// What of a log can be cleaned now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Records from here on are not compacted among themselves yet.
    pub first_dirty: i64,
    /// Nothing from here on may be touched; the beginning of a segment.
    pub first_uncleanable: i64,
    /// Bytes between the two.
    pub dirty_bytes: u64,
    /// Dirty part of all that would be read.
    pub dirty_ratio: f64,
    /// Longest time that a record has waited beyond `max.compaction.lag.ms`; 0 if none has.
    pub overdue_ms: i64,
}

impl Window {
    /// Whether the log should be cleaned.
    pub fn is_due(&self, bounds: &LagBounds) -> bool {
        self.dirty_bytes > 0 && (self.overdue_ms > 0 || self.dirty_ratio > bounds.dirty_ratio_min)
    }
}

/// Finds what can be cleaned. `now_ms` is the wall clock.
pub fn window(log: &LogFacts, bounds: &LagBounds, now_ms: i64) -> Window {
    // A checkpoint outside the log is of another life of it: start over.
    let first_dirty = log.cleaned_to.filter(|to| (log.start..=log.end).contains(to)).unwrap_or(log.start);
    let maybe_dirty = || log.sealed.iter().filter(|segment| segment.next > first_dirty);
    let too_young = |segment: &&SegmentFacts| segment.max_time_ms > now_ms.saturating_sub(bounds.min_ms);
    let young = if bounds.min_ms > 0 { maybe_dirty().find(too_young) } else { None };
    let bound = young.map_or(i64::MAX, |segment| segment.base).min(log.stable).min(log.active_base);
    let straddling = log.sealed.iter().find(|segment| segment.next > bound);
    let first_uncleanable = straddling.map_or(log.active_base, |segment| segment.base);
    let bytes = |dirty: bool| -> u64 {
        let inside = log.sealed.iter().filter(|segment| segment.base < first_uncleanable);
        inside.filter(|segment| (segment.next > first_dirty) == dirty).map(|segment| segment.bytes).sum()
    };
    let (clean_bytes, dirty_bytes) = (bytes(false), bytes(true));
    let total = clean_bytes + dirty_bytes;
    let oldest = maybe_dirty().filter_map(|segment| segment.first_time_ms).filter(|time| *time > 0).min();
    let deadline = now_ms.saturating_sub(bounds.max_ms.max(0));
    let overdue_ms = oldest.map_or(0, |oldest| deadline.saturating_sub(oldest).max(0));
    let dirty_ratio = if total == 0 { 0.0 } else { dirty_bytes as f64 / total as f64 };
    Window { first_dirty, first_uncleanable, dirty_bytes, dirty_ratio, overdue_ms }
}

/// Puts neighbouring segments together as long as one segment can hold them: by bytes, by index bytes, by the reach of relative offsets.
pub fn groups(segments: &[SegmentFacts], segment_bytes: u64, index_bytes: u64) -> Vec<&[SegmentFacts]> {
    let mut groups = Vec::new();
    let mut rest = segments;
    while let Some(first) = rest.first() {
        let (mut bytes, mut index) = (first.bytes, first.index_bytes);
        let fits = |segment: &&SegmentFacts| {
            bytes += segment.bytes;
            index += segment.index_bytes;
            let in_reach = segment.bytes == 0 || segment.next - 1 - first.base <= i64::from(i32::MAX);
            bytes <= segment_bytes && index <= index_bytes && in_reach
        };
        let more = rest[1..].iter().take_while(fits).count();
        let (group, later) = rest.split_at(1 + more);
        groups.push(group);
        rest = later;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: LagBounds = LagBounds { min_ms: 0, max_ms: i64::MAX, dirty_ratio_min: 0.5 };

    fn log(count: i64) -> LogFacts {
        let segment = |n: i64| SegmentFacts {
            base: n * 10,
            next: n * 10 + 10,
            bytes: 100,
            index_bytes: 8,
            max_time_ms: n * 1000,
            first_time_ms: Some(n * 1000 - 500),
        };
        let sealed = (0..count).map(segment).collect();
        let end = count * 10 + 5;
        LogFacts { sealed, active_base: count * 10, start: 0, end, stable: end, cleaned_to: None }
    }

    #[test]
    fn the_active_segment_and_all_from_the_stable_offset_on_stay() {
        let mut facts = log(4);
        assert_eq!(window(&facts, &BOUNDS, 0).first_uncleanable, 40);
        facts.stable = 25;
        let found = window(&facts, &BOUNDS, 0);
        assert_eq!((found.first_dirty, found.first_uncleanable, found.dirty_bytes), (0, 20, 200));
        facts.stable = 0;
        let found = window(&facts, &BOUNDS, 0);
        assert_eq!((found.first_uncleanable, found.dirty_bytes), (0, 0));
        assert!(!found.is_due(&BOUNDS));
        assert!(!window(&log(0), &BOUNDS, 0).is_due(&BOUNDS));
    }

    #[test]
    fn a_log_is_due_once_its_dirty_part_passes_the_ratio() {
        let mut facts = log(4);
        for (cleaned_to, ratio, due) in [(0, 1.0, true), (10, 0.75, true), (20, 0.5, false), (40, 0.0, false)] {
            facts.cleaned_to = Some(cleaned_to);
            let found = window(&facts, &BOUNDS, 0);
            assert_eq!((found.first_dirty, found.dirty_ratio), (cleaned_to, ratio));
            assert_eq!(found.is_due(&BOUNDS), due, "cleaned to {cleaned_to}");
        }
        (facts.cleaned_to, facts.start) = (Some(5), 12);
        assert_eq!(window(&facts, &BOUNDS, 0).first_dirty, 12, "behind the log's start");
        facts.cleaned_to = Some(1000);
        assert_eq!(window(&facts, &BOUNDS, 0).first_dirty, 12, "beyond the log's end");
    }

    #[test]
    fn young_segments_wait_and_old_ones_force() {
        let facts = log(4);
        let bounds = LagBounds { min_ms: 1500, ..BOUNDS };
        assert_eq!(window(&facts, &bounds, 3000).first_uncleanable, 20, "2 is 1000 ms old");
        let mut facts = log(4);
        facts.cleaned_to = Some(30);
        let bounds = LagBounds { max_ms: 1000, ..BOUNDS };
        assert!(!window(&facts, &bounds, 3500).is_due(&bounds));
        let found = window(&facts, &bounds, 3501);
        assert_eq!(found.overdue_ms, 1);
        assert!(found.is_due(&bounds));
    }

    #[test]
    fn groups_fill_segments_and_keep_relative_offsets_in_reach() {
        let facts = log(5);
        let bases = |bytes, index| -> Vec<Vec<i64>> {
            let all = groups(&facts.sealed, bytes, index);
            all.iter().map(|group| group.iter().map(|segment| segment.base).collect()).collect()
        };
        assert_eq!(bases(250, 1000), [vec![0, 10], vec![20, 30], vec![40]]);
        assert_eq!(bases(1, 1000).len(), 5);
        assert_eq!(bases(1000, 24), [vec![0, 10, 20], vec![30, 40]]);
        let mut far = log(2);
        far.sealed[1].next = i64::from(i32::MAX) + 2;
        assert_eq!(groups(&far.sealed, 1000, 1000).len(), 2);
        far.sealed[1].bytes = 0;
        assert_eq!(groups(&far.sealed, 1000, 1000).len(), 1, "an empty one has no offset to reach");
    }
}
