//! The whole log of a partition, read through the wire client from its start to its end, as the checker wants it.

use causeway_wire::client::{Client, Isolation, TIMESTAMP_EARLIEST, TIMESTAMP_LATEST};
use causeway_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use causeway_wire::records::{BatchView, Batches, DECOMPRESSED_BYTES_MAX};
use causeway_wire::{ApiKey, ErrorCode};

use super::checker::{Entry, Log};
use super::error::DrillError;
use super::payload::{Damage, HeaderRef, Incoming, digest, verify};

/// Bytes asked for in one fetch: few round trips, little memory.
const FETCH_BYTES: i32 = 4 << 20;
/// Fetches in a row that may bring nothing below the end before the log counts as unreadable.
const EMPTY_FETCHES_MAX: u32 = 20;
/// How long a broker may take to create a topic, in milliseconds.
const CREATE_TIMEOUT_MS: i32 = 10_000;

/// Which log is read, and how its payloads are to be judged.
#[derive(Debug, Clone, Copy)]
pub struct LogSpec<'a> {
    /// Run of the drill.
    pub run: u64,
    /// Topic to read.
    pub topic: &'a str,
    /// Name that the payloads must carry: that at the origin.
    pub payload_topic: &'a str,
    /// Partition.
    pub partition: i32,
}

/// Reads what a log has gained since it was last read (everything, if it was never), up to its present end.
///
/// # Errors
/// The cluster does not answer, or does not serve what it says it has.
pub async fn extend(client: &Client, spec: LogSpec<'_>, log: &mut Log) -> Result<(), DrillError> {
    let LogSpec { topic, partition, .. } = spec;
    let name = format!("read {topic}-{partition}");
    let ask = async |timestamp| {
        let listed = client.list_offset(topic, partition, timestamp).await;
        listed.map(|listed| listed.offset).map_err(DrillError::cluster(name.clone()))
    };
    if log.end == 0 {
        log.start = ask(TIMESTAMP_EARLIEST).await?;
        log.end = log.start;
    }
    let end = ask(TIMESTAMP_LATEST).await?;
    let mut empty = 0;
    while log.end < end {
        let before = log.end;
        let fetched = client.fetch_batches(topic, partition, before, FETCH_BYTES, Isolation::ReadUncommitted).await;
        for batch in Batches::new(fetched.map_err(DrillError::cluster(name.clone()))?.batches) {
            let batch =
                batch.map_err(|error| DrillError::Unreadable { what: format!("{name} at {}: {error}", log.end) })?;
            add_batch(log, spec.run, spec.payload_topic, partition, &batch);
        }
        empty = if log.end == before { empty + 1 } else { 0 };
        if empty == EMPTY_FETCHES_MAX {
            return Err(DrillError::Unreadable { what: format!("{name}: nothing is served at {before}, end {end}") });
        }
    }
    Ok(())
}

/// Offset that the next record of a partition will get.
///
/// # Errors
/// The cluster does not answer, or has no such partition.
pub async fn end_offset(client: &Client, topic: &str, partition: i32) -> Result<i64, DrillError> {
    let listed = client.list_offset(topic, partition, TIMESTAMP_LATEST).await;
    Ok(listed.map_err(DrillError::cluster(format!("end of {topic}-{partition}")))?.offset)
}

/// Creates a topic; one that exists already is fine.
///
/// # Errors
/// The cluster does not answer, or refuses.
pub async fn create_topic(
    client: &Client,
    topic: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<(), DrillError> {
    let setting = |(name, value): &(&str, &str)| CreatableTopicConfig {
        name: (*name).to_owned(),
        value: Some((*value).to_owned()),
    };
    let wanted = CreatableTopic {
        name: topic.to_owned(),
        num_partitions: partitions,
        replication_factor: 1,
        configs: settings.iter().map(setting).collect(),
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![wanted], timeout_ms: CREATE_TIMEOUT_MS, ..Default::default() };
    let what = format!("create topic {topic}");
    let answer = client.controller(request).await.map_err(DrillError::cluster(what.clone()))?;
    let refusal = answer.topics.iter().find(|created| created.error_code != 0);
    match refusal.map(|created| (ErrorCode(created.error_code), created.error_message.clone())) {
        None | Some((ErrorCode::TOPIC_ALREADY_EXISTS, _)) => Ok(()),
        Some((code, message)) => {
            let (api, subject) = (ApiKey::CreateTopics, topic.to_owned());
            let source = causeway_wire::client::ClientError::Broker { api, code, subject, message };
            Err(DrillError::Cluster { what, source })
        }
    }
}

/// Adds the records of a batch that stand at or after the log's end; moves the end behind the batch.
///
/// `topic` is the name the payloads must carry: that at the origin. Transaction markers are no records.
pub fn add_batch(log: &mut Log, run: u64, topic: &str, partition: i32, batch: &BatchView) {
    let from = log.end;
    log.end = log.end.max(batch.header.next_offset());
    if batch.header.attributes.is_control() {
        return;
    }
    let damaged = |what| Entry {
        offset: batch.header.base_offset.max(from),
        uid: None,
        digest: 0,
        key: None,
        damage: Some(what),
        misrouted: false,
    };
    if batch.verify_crc().is_err() {
        log.entries.push(damaged("batch crc differs"));
        return;
    }
    let Ok(block) = batch.decompress(DECOMPRESSED_BYTES_MAX) else {
        log.entries.push(damaged("batch cannot be decompressed"));
        return;
    };
    for record in batch.walk(&block) {
        let Ok(record) = record else {
            log.entries.push(damaged("record cannot be read"));
            return;
        };
        let offset = batch.header.offset_at(record.offset_delta);
        if offset < from {
            continue; // a batch is served whole, also when the read began inside it
        }
        let headers: Vec<HeaderRef<'_>> = record.headers().collect();
        let timestamp_ms = batch.header.timestamp_at(record.timestamp_delta);
        let incoming = Incoming { key: record.key, value: record.value, headers: &headers, timestamp_ms };
        let (identity, damage) = match verify(&incoming) {
            Ok(identity) => (Some(identity), None),
            Err(Damage { what, identity }) => (identity, Some(what)),
        };
        let misrouted = identity.as_ref().is_some_and(|i| i.topic != topic || i.uid.partition != partition);
        let foreign = identity.as_ref().is_some_and(|i| i.uid.run != run);
        log.entries.push(Entry {
            offset,
            uid: identity.map(|identity| identity.uid).filter(|_| !foreign),
            digest: digest(&incoming),
            key: record.key.map(crc32c::crc32c),
            damage: damage.or(foreign.then_some("of another run")),
            misrouted,
        });
    }
}

#[cfg(test)]
mod tests {
    use causeway_wire::records::{BatchBuilder, Codec, RecordHeader};

    use super::*;
    use crate::drill::payload::{Identity, KeyShape, Shape, Uid, ValueShape, encode};

    fn batch(codec: Codec, base: i64, seqs: std::ops::Range<u64>, topic: &str) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec).base_offset(base);
        for seq in seqs {
            let uid = Uid { run: 1, producer: 2, partition: 3, seq };
            let identity = Identity { uid, origin: "east".into(), topic: topic.into(), send_ms: 1_000 + seq as i64 };
            let shape = Shape { key: KeyShape::Unique, value: ValueShape::Sized(300), odd_headers: true };
            let record = encode(&identity, shape);
            let headers: Vec<RecordHeader> = (record.headers.into_iter())
                .map(|(key, value)| RecordHeader { key: key.as_bytes().into(), value: value.map(Into::into) })
                .collect();
            builder.push(identity.send_ms, record.key.as_deref(), record.value.as_deref(), &headers).unwrap();
        }
        builder.build().unwrap().to_vec()
    }

    fn read(bytes: Vec<u8>, log: &mut Log) {
        add_batch(log, 1, "orders", 3, &BatchView::parse(&bytes.into()).unwrap());
    }

    #[test]
    fn records_come_out_whole_under_every_codec() {
        let mut log = Log::default();
        let codecs = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
        for (at, codec) in (0u64..).zip(codecs) {
            read(batch(codec, at as i64 * 4, at * 4..at * 4 + 4, "orders"), &mut log);
        }
        assert_eq!((log.entries.len(), log.end), (20, 20));
        for (offset, entry) in (0..).zip(&log.entries) {
            assert_eq!((entry.offset, entry.uid.unwrap().seq as i64), (offset, offset));
            assert!(entry.damage.is_none() && !entry.misrouted);
        }
    }

    #[test]
    fn a_read_that_begins_inside_a_batch_leaves_out_what_came_before() {
        let mut log = Log { start: 2, end: 2, entries: vec![] };
        read(batch(Codec::Lz4, 0, 0..4, "orders"), &mut log);
        assert_eq!(log.entries.iter().map(|entry| entry.offset).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn damage_and_wrong_places_are_seen() {
        let mut log = Log::default();
        let mut bytes = batch(Codec::None, 0, 0..1, "orders");
        let last = bytes.len() - 10;
        bytes[last] ^= 1;
        read(bytes, &mut log);
        assert_eq!(log.entries[0].damage, Some("batch crc differs"));
        read(batch(Codec::None, 1, 0..1, "other"), &mut log);
        assert!(log.entries[1].misrouted);
    }
}
