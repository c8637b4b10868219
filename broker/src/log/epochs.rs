//! Which leader epoch starts at which offset (KIP-101), and its file `leader-epoch-checkpoint`.

/// Starts of leader epochs: epochs and offsets strictly rise (law R2).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Epochs {
    starts: Vec<(i32, i64)>,
}

impl Epochs {
    /// The newest epoch.
    pub(crate) fn latest(&self) -> Option<i32> {
        self.starts.last().map(|(epoch, _)| *epoch)
    }

    /// Epochs and where they start, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i32, i64)> {
        self.starts.iter().copied()
    }

    /// The epoch in which `offset` was written.
    pub(crate) fn at(&self, offset: i64) -> Option<i32> {
        let after = self.starts.partition_point(|(_, start)| *start <= offset);
        after.checked_sub(1).map(|at| self.starts[at].0)
    }

    /// Notes that `epoch` starts at `start`. Returns whether anything changed. An epoch without records gives way to the next one at the same offset.
    pub(crate) fn assign(&mut self, epoch: i32, start: i64) -> bool {
        if self.latest().is_some_and(|latest| latest >= epoch) {
            return false;
        }
        while self.starts.last().is_some_and(|(_, last)| *last >= start) {
            self.starts.pop();
        }
        self.starts.push((epoch, start));
        true
    }

    /// The largest epoch not above `epoch`, and the offset after its last record: what a follower compares (OffsetForLeaderEpoch).
    /// `None`: nothing is known that far back, or the epoch lies ahead.
    pub(crate) fn end_of(&self, epoch: i32, log_end: i64) -> Option<(i32, i64)> {
        let latest = self.latest()?;
        if epoch == latest {
            return Some((epoch, log_end));
        }
        if epoch > latest {
            return None;
        }
        let above = self.starts.partition_point(|(at, _)| *at <= epoch);
        let end = self.starts[above].1;
        // An epoch older than all that is known ends where the first known one starts; Kafka answers with the asked epoch then.
        let floor = above.checked_sub(1).map_or(epoch, |at| self.starts[at].0);
        Some((floor, end))
    }

    /// Forgets epochs that start at or after `end`. Returns whether anything changed.
    pub(crate) fn truncate_end(&mut self, end: i64) -> bool {
        let before = self.starts.len();
        self.starts.truncate(self.starts.partition_point(|(_, start)| *start < end));
        before != self.starts.len()
    }

    /// Forgets epochs that end at or before `start`; the one that covers it starts there now. Returns whether anything changed.
    pub(crate) fn truncate_start(&mut self, start: i64) -> bool {
        let covering = self.starts.partition_point(|(_, at)| *at <= start);
        let Some(covering) = covering.checked_sub(1) else { return false };
        let changed = covering > 0 || self.starts[covering].1 < start;
        self.starts.drain(..covering);
        self.starts[0].1 = start;
        changed
    }

    /// The file: version 0, count, one `epoch start` per line.
    pub(crate) fn encode(&self) -> String {
        let mut text = format!("0\n{}\n", self.starts.len());
        for (epoch, start) in &self.starts {
            text.push_str(&format!("{epoch} {start}\n"));
        }
        text
    }

    /// Reads the file; `None` if it is damaged (it can be rebuilt from the log).
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next()? != "0" {
            return None;
        }
        let count: usize = lines.next()?.parse().ok()?;
        let mut epochs = Self::default();
        for line in lines {
            let (epoch, start) = line.split_once(' ')?;
            let (epoch, start): (i32, i64) = (epoch.parse().ok()?, start.parse().ok()?);
            let rises = epochs.starts.last().is_none_or(|last| last.0 < epoch && last.1 < start);
            if !rises || epoch < 0 || start < 0 {
                return None;
            }
            epochs.starts.push((epoch, start));
        }
        (epochs.starts.len() == count).then_some(epochs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(starts: &[(i32, i64)]) -> Epochs {
        let mut epochs = Epochs::default();
        for (epoch, start) in starts {
            assert!(epochs.assign(*epoch, *start));
        }
        epochs
    }

    #[test]
    fn r2_epochs_and_starts_strictly_rise() {
        let mut cache = epochs(&[(0, 0), (2, 10)]);
        assert!(!cache.assign(1, 20), "an older epoch is never taken");
        assert!(!cache.assign(2, 20));
        assert!(cache.assign(5, 10), "an epoch without records gives way");
        assert_eq!(cache, epochs(&[(0, 0), (5, 10)]));
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next_one() {
        let cache = epochs(&[(1, 5), (3, 10), (4, 20)]);
        assert_eq!(cache.end_of(4, 33), Some((4, 33)));
        assert_eq!(cache.end_of(3, 33), Some((3, 20)));
        assert_eq!(cache.end_of(2, 33), Some((1, 10)));
        assert_eq!(cache.end_of(0, 33), Some((0, 5)));
        assert_eq!(cache.end_of(5, 33), None);
        assert_eq!(Epochs::default().end_of(0, 3), None);
        assert_eq!((cache.at(4), cache.at(5), cache.at(19), cache.at(20)), (None, Some(1), Some(3), Some(4)));
    }

    #[test]
    fn truncation_cuts_both_ends() {
        let mut cache = epochs(&[(1, 5), (3, 10), (4, 20)]);
        assert!(cache.truncate_start(12));
        assert_eq!(cache, epochs(&[(3, 12), (4, 20)]));
        assert!(!cache.truncate_start(3));
        assert!(cache.truncate_end(20));
        assert_eq!(cache, epochs(&[(3, 12)]));
        assert!(!cache.truncate_end(13));
    }

    #[test]
    fn the_file_is_kafkas_and_damage_is_noticed() {
        let cache = epochs(&[(0, 0), (3, 7)]);
        assert_eq!(cache.encode(), "0\n2\n0 0\n3 7\n");
        assert_eq!(Epochs::decode(&cache.encode()), Some(cache));
        for bad in ["", "1\n0\n", "0\n2\n0 0\n", "0\n2\n3 0\n2 7\n", "0\n1\n0 x\n", "0\n1\n0 -1\n"] {
            assert_eq!(Epochs::decode(bad), None, "{bad:?}");
        }
    }
}
