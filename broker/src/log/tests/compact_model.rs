//! What a compacted log may hold, kept beside it: every record that was ever appended, and what became of its transaction.

use std::collections::{BTreeMap, HashMap};

use causeway_wire::records::{ControlMarker, DECOMPRESSED_BYTES_MAX, control_batch};

use super::*;

/// `delete.retention.ms` of the tests.
pub const RETENTION: i64 = 10_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub key: Bytes,
    pub value: Option<Bytes>,
    pub time: i64,
    /// Number of its transaction.
    txn: Option<usize>,
    /// Clock at the append.
    appended_ms: i64,
}

/// A producer's transaction, with its marker once it has ended.
#[derive(Debug, Clone)]
struct Txn {
    producer: i64,
    end: Option<(i64, bool)>,
}

#[derive(Default)]
pub struct Model {
    pub rows: BTreeMap<i64, Row>,
    txns: Vec<Txn>,
    open: HashMap<i64, usize>,
    /// Last offset and sequence by producer.
    producers: BTreeMap<i64, BTreeMap<i64, i32>>,
    pub now: i64,
    pub acked: i64,
}

fn keyed(key: u32) -> Bytes {
    Bytes::from(format!("key-{key}"))
}

impl Model {
    pub fn new() -> Self {
        Self { now: NOW, ..Self::default() }
    }

    /// Appends a random batch, or ends a transaction; the log must take it.
    pub fn append(&mut self, log: &Log, rng: &mut fastrand::Rng) {
        let producer = [-1, 1, 2, 10, 11][rng.usize(..5)];
        let transactional = producer >= 10;
        if transactional && rng.u8(..4) == 0 && self.open.contains_key(&producer) {
            return self.end_txn(log, producer, rng.bool());
        }
        let count = rng.usize(1..4);
        let mut builder = BatchBuilder::new(Codec::ALL[rng.usize(..5)]);
        let end = log.end_offset();
        if producer > 0 {
            let last = self.producers.get(&producer).and_then(|all| all.last_key_value()).map_or(-1, |(_, last)| *last);
            builder = builder.producer(producer, 0, last + 1).transactional(transactional);
            self.producers.entry(producer).or_default().insert(end + count as i64 - 1, last + count as i32);
        }
        let txn = transactional.then(|| {
            *self.open.entry(producer).or_insert_with(|| {
                self.txns.push(Txn { producer, end: None });
                self.txns.len() - 1
            })
        });
        for n in 0..count as i64 {
            let (offset, key) = (end + n, keyed(rng.u32(..12)));
            let value = (rng.u8(..4) > 0).then(|| Bytes::from(format!("{offset}:{}", "x".repeat(rng.usize(..60)))));
            let time = self.now - rng.i64(0..100);
            builder.push(time, Some(&key), value.as_deref(), &[]).unwrap();
            self.rows.insert(offset, Row { key, value, time, txn, appended_ms: self.now });
        }
        let batch = BatchView::parse(&builder.build().unwrap()).unwrap();
        assert_eq!(log.append_one(&batch, LEADER, self.now).unwrap().base_offset, end);
    }

    fn end_txn(&mut self, log: &Log, producer: i64, commit: bool) {
        let marker = if commit { ControlMarker::Commit } else { ControlMarker::Abort };
        let batch = BatchView::parse(&control_batch(marker, producer, 0, 1, self.now).unwrap()).unwrap();
        let offset = log.append_one(&batch, LEADER, self.now).unwrap().base_offset;
        let txn = self.open.remove(&producer).unwrap();
        self.txns[txn].end = Some((offset, commit));
    }

    /// Ends all open transactions, so that the stable offset reaches the log's end.
    pub fn end_all(&mut self, log: &Log) {
        for producer in self.open.keys().copied().collect::<Vec<_>>() {
            self.end_txn(log, producer, producer % 2 == 0);
        }
    }

    /// The log ends at `end` after a crash: what came later never happened.
    pub fn cut(&mut self, end: i64) {
        self.rows.split_off(&end);
        self.producers.values_mut().for_each(|batches| drop(batches.split_off(&end)));
        self.open.clear();
        for (number, txn) in self.txns.iter_mut().enumerate() {
            txn.end = txn.end.filter(|(marker, _)| *marker < end);
            if txn.end.is_none() && self.rows.values().any(|row| row.txn == Some(number)) {
                self.open.insert(txn.producer, number);
            }
        }
        self.acked = end;
    }

    fn committed(&self, row: &Row) -> bool {
        row.txn.is_none_or(|txn| self.txns[txn].end.is_some_and(|(_, commit)| commit))
    }

    fn stable(&self, end: i64) -> i64 {
        let open = |row: &&Row| row.txn.is_some_and(|txn| self.txns[txn].end.is_none());
        self.rows.iter().find(|(_, row)| open(row)).map_or(end, |(offset, _)| *offset)
    }

    /// R25 and R14-R16: holds a log against the model.
    pub fn check(&self, log: &Log, what: &str, rng: &mut fastrand::Rng) {
        let (start, end) = (log.start_offset(), log.end_offset());
        log.set_high_watermark(end);
        let stable = log.last_stable_offset();
        assert_eq!(stable, self.stable(end), "{what}: stable offset (R16)");
        let all = committed_from(log, start);
        for (offset, (key, value, time)) in &all {
            let row = &self.rows[offset];
            assert_eq!((key, value, time), (&row.key, &row.value, &row.time), "{what}: record {offset}");
            assert!(self.committed(row), "{what}: {offset} was aborted or is open");
        }
        let visible = self.rows.range(start..stable).filter(|(_, row)| self.committed(row));
        let latest: BTreeMap<&Bytes, i64> = visible.map(|(offset, row)| (&row.key, *offset)).collect();
        for (key, offset) in latest {
            let row = &self.rows[&offset];
            let may_be_gone = row.value.is_none() && self.now >= row.appended_ms + RETENTION;
            assert!(all.contains_key(&offset) || may_be_gone, "{what}: latest of {key:?}, {offset}, is gone: {row:?}");
        }
        // A reader that starts in the middle sees the same.
        let from = rng.i64(start..=end);
        let rest: BTreeMap<_, _> = all.range(from..).map(|(offset, record)| (*offset, record.clone())).collect();
        assert_eq!(committed_from(log, from), rest, "{what}: from {from}");
        for (producer, batches) in &self.producers {
            let known = log
                .producers()
                .get(*producer)
                .map(|entry| (entry.last_sequence(), entry.batches.last().map(|seen| seen.last_offset)));
            let expected = batches.last_key_value().map(|(offset, sequence)| (*sequence, Some(*offset)));
            assert_eq!(known, expected, "{what}: producer {producer} (R14), log {start}..{end}");
        }
    }
}

type Visible = BTreeMap<i64, (Bytes, Option<Bytes>, i64)>;

/// What a consumer with `read_committed` sees from `from` on, by the rules of Kafka's client.
pub fn committed_from(log: &Log, from: i64) -> Visible {
    let (mut seen, mut at, upper) = (Visible::new(), from, log.last_stable_offset());
    while at < upper {
        let (fetched, txns) = log.read_committed(at, 900, upper).unwrap();
        if fetched.next_offset <= at {
            break;
        }
        let mut txns = txns.into_iter().peekable();
        let mut aborted = std::collections::HashSet::new();
        for batch in Batches::new(fetched.bytes).map(Result::unwrap) {
            batch.verify_crc().unwrap();
            let header = batch.header;
            while let Some(txn) = txns.next_if(|txn| txn.first_offset <= header.last_offset()) {
                aborted.insert(txn.producer_id);
            }
            if header.attributes.is_control() {
                let records = batch.records(DECOMPRESSED_BYTES_MAX).unwrap();
                let key = records.first().and_then(|record| record.key.clone());
                if key.and_then(|key| ControlMarker::from_key(&key)) == Some(ControlMarker::Abort) {
                    aborted.remove(&header.producer_id);
                }
                continue;
            }
            if header.attributes.is_transactional() && aborted.contains(&header.producer_id) {
                continue;
            }
            for record in batch.records(DECOMPRESSED_BYTES_MAX).unwrap() {
                let offset = header.offset_at(record.offset_delta);
                if offset >= from {
                    let (key, time) = (record.key.unwrap(), header.timestamp_at(record.timestamp_delta));
                    assert!(seen.insert(offset, (key, record.value, time)).is_none(), "{offset} twice");
                }
            }
        }
        at = fetched.next_offset;
    }
    seen
}
