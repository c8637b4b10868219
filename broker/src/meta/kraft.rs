//! What Apache Kafka's own metadata log (`__cluster_metadata-0`, KIP-500, KIP-746) says of topics, settings and producer ids, so that a directory of its can be
//! taken over. Only records that are still in force after the latest snapshot count; kinds that are not needed are passed over.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::{Buf, Bytes};
use causeway_wire::Uuid;
use causeway_wire::codec::get_uvarint;
use causeway_wire::records::{Batches, DECOMPRESSED_BYTES_MAX, decode_records};

use crate::config::effective::Settings;

/// The folder in a log directory.
pub const FOLDER: &str = "__cluster_metadata-0";
/// Largest file of it that is read: Kafka makes a snapshot every 20 MiB of records, and segments of it hold 1 GiB at most.
const FILE_BYTES_MAX: u64 = 1 << 30;

const TOPIC: u32 = 2;
const CONFIG: u32 = 4;
const REMOVE_TOPIC: u32 = 9;
const PRODUCER_IDS: u32 = 15;
/// Resource types of a setting (ConfigResource.Type).
const OF_TOPIC: i8 = 2;
const OF_BROKER: i8 = 4;

/// The metadata as it stood.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KraftImage {
    /// Topic ids by name.
    pub topics: BTreeMap<String, Uuid>,
    /// Settings by topic.
    pub topic_configs: BTreeMap<String, Settings>,
    /// Settings by node, as its number in text; empty for all nodes.
    pub broker_configs: BTreeMap<String, Settings>,
    /// Producer ids below it were given out.
    pub next_producer_id: i64,
}

/// Reads the folder; `None` if there is none.
///
/// # Errors
/// What is there cannot be read, in words.
pub fn read(folder: &Path) -> Result<Option<KraftImage>, String> {
    let mut logs = BTreeMap::new();
    let mut snapshots = BTreeMap::new();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(Ok(offset)) = name.get(..20).map(str::parse::<i64>) else { continue };
        match name.get(20..) {
            Some(".log") => drop(logs.insert(offset, path)),
            // `<offset>-<epoch>.checkpoint`: all that was in force before the offset.
            Some(rest) if rest.ends_with(".checkpoint") => drop(snapshots.insert(offset, path)),
            _ => {}
        }
    }
    if logs.is_empty() && snapshots.is_empty() {
        return Ok(None);
    }
    let mut image = KraftImage::default();
    let mut from = 0;
    if let Some((offset, path)) = snapshots.last_key_value() {
        replay(path, None, &mut image)?;
        from = *offset;
    }
    for path in logs.values() {
        replay(path, Some(from), &mut image)?;
    }
    Ok(Some(image))
}

/// Applies the records of a file from an offset on; a snapshot's offsets mean nothing.
fn replay(path: &Path, from: Option<i64>, image: &mut KraftImage) -> Result<(), String> {
    let failed = |why: String| format!("{}: {why}", path.display());
    let bytes = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(failed(format!("{bytes} bytes are too many")));
    }
    let content = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    // What follows the last whole batch is a torn tail, or room allocated beforehand.
    for batch in Batches::new(content.into()).map_while(Result::ok) {
        if batch.verify_crc().is_err() {
            break;
        }
        if batch.header.attributes.is_control() {
            continue;
        }
        let records = decode_records(&batch, DECOMPRESSED_BYTES_MAX).map_err(|error| failed(error.to_string()))?;
        for record in records {
            let offset = batch.header.offset_at(record.offset_delta);
            if from.is_none_or(|from| offset >= from)
                && let Some(value) = record.value
            {
                apply(value, image).ok_or_else(|| failed(format!("the record at offset {offset} is damaged")))?;
            }
        }
    }
    Ok(())
}

/// Applies one record: frame version, kind, version of the kind, content.
fn apply(mut raw: Bytes, image: &mut KraftImage) -> Option<()> {
    let _frame = get_uvarint(&mut raw).ok()?;
    let kind = get_uvarint(&mut raw).ok()?;
    let _version = get_uvarint(&mut raw).ok()?;
    match kind {
        TOPIC => {
            let name = text(&mut raw)??;
            image.topics.insert(name, uuid(&mut raw)?);
        }
        REMOVE_TOPIC => {
            let id = uuid(&mut raw)?;
            let gone = image.topics.iter().find(|(_, known)| **known == id).map(|(name, _)| name.clone());
            if let Some(name) = gone {
                image.topics.remove(&name);
                image.topic_configs.remove(&name);
            }
        }
        CONFIG => {
            let resource = raw.try_get_i8().ok()?;
            let (name, key, value) = (text(&mut raw)??, text(&mut raw)??, text(&mut raw)?);
            let settings = match resource {
                OF_TOPIC => image.topic_configs.entry(name).or_default(),
                OF_BROKER => image.broker_configs.entry(name).or_default(),
                _ => return Some(()),
            };
            match value {
                Some(value) => drop(settings.insert(key, value)),
                None => drop(settings.remove(&key)),
            }
        }
        PRODUCER_IDS => {
            let (_broker, _epoch) = (raw.try_get_i32().ok()?, raw.try_get_i64().ok()?);
            image.next_producer_id = image.next_producer_id.max(raw.try_get_i64().ok()?);
        }
        _ => {}
    }
    Some(())
}

/// A compact string; the outer `None` is damage, the inner one null.
fn text(raw: &mut Bytes) -> Option<Option<String>> {
    let Some(len) = (get_uvarint(raw).ok()? as usize).checked_sub(1) else { return Some(None) };
    if raw.len() < len {
        return None;
    }
    String::from_utf8(raw.split_to(len).to_vec()).ok().map(Some)
}

fn uuid(raw: &mut Bytes) -> Option<Uuid> {
    let id = Uuid(*raw.first_chunk::<16>()?);
    raw.advance(16);
    Some(id)
}

#[cfg(test)]
mod tests {
    use causeway_wire::records::{BatchBuilder, Codec};

    use super::*;

    fn put_text(out: &mut Vec<u8>, text: &str) {
        out.push(text.len() as u8 + 1);
        out.extend_from_slice(text.as_bytes());
    }

    fn topic(name: &str, id: u8) -> Vec<u8> {
        let mut out = vec![1, TOPIC as u8, 0];
        put_text(&mut out, name);
        out.extend([id; 16]);
        out.push(0);
        out
    }

    fn config(resource: i8, name: &str, key: &str, value: Option<&str>) -> Vec<u8> {
        let mut out = vec![1, CONFIG as u8, 0, resource as u8];
        put_text(&mut out, name);
        put_text(&mut out, key);
        match value {
            Some(value) => put_text(&mut out, value),
            None => out.push(0),
        }
        out.push(0);
        out
    }

    fn removed(id: u8) -> Vec<u8> {
        [&[1, REMOVE_TOPIC as u8, 0][..], &[id; 16], &[0]].concat()
    }

    fn file(base: i64, records: &[Vec<u8>]) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Codec::None).base_offset(base);
        records.iter().for_each(|record| builder.push(0, None, Some(record), &[]).unwrap());
        builder.build().unwrap().to_vec()
    }

    #[test]
    fn a_snapshot_and_the_records_after_it_give_the_image() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(&dir.path().join("none")), Ok(None));
        assert_eq!(read(dir.path()), Ok(None));
        let snapshot = [topic("old", 1), config(OF_TOPIC, "old", "retention.ms", Some("5"))];
        std::fs::write(dir.path().join("00000000000000000010-0000000003.checkpoint"), file(0, &snapshot)).unwrap();
        let before = file(8, &[topic("never", 9), topic("seen", 8)]);
        let producer_ids = [&[1, PRODUCER_IDS as u8, 0][..], &[0; 12], &3000_i64.to_be_bytes(), &[0]].concat();
        let after = [
            topic("new", 2),
            vec![1, 27, 0, 5, 0],
            config(OF_TOPIC, "new", "cleanup.policy", Some("compact")),
            config(OF_TOPIC, "new", "segment.bytes", Some("1")),
            config(OF_TOPIC, "new", "segment.bytes", None),
            topic("gone", 3),
            config(OF_TOPIC, "gone", "retention.ms", Some("1")),
            removed(3),
            config(OF_BROKER, "", "message.max.bytes", Some("7")),
            producer_ids,
        ];
        let mut log = [before, file(10, &after)].concat();
        log.extend([0; 100]);
        std::fs::write(dir.path().join("00000000000000000008.log"), &log).unwrap();
        let image = read(dir.path()).unwrap().unwrap();
        let names: Vec<_> = image.topics.iter().map(|(name, id)| (name.as_str(), id.0[0])).collect();
        assert_eq!(names, [("new", 2), ("old", 1)]);
        let of =
            |pairs: &[(&str, &str)]| -> Settings { pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect() };
        assert_eq!(image.topic_configs["new"], of(&[("cleanup.policy", "compact")]));
        assert_eq!(image.topic_configs["old"], of(&[("retention.ms", "5")]));
        assert!(!image.topic_configs.contains_key("gone"));
        assert_eq!(image.broker_configs[""], of(&[("message.max.bytes", "7")]));
        assert_eq!(image.next_producer_id, 3000);
    }

    #[test]
    fn a_record_that_is_cut_short_is_an_error_and_no_panic() {
        let whole = config(OF_TOPIC, "new", "cleanup.policy", Some("compact"));
        for len in 0..whole.len() - 1 {
            assert_eq!(apply(whole[..len].to_vec().into(), &mut KraftImage::default()), None, "{len} bytes");
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("00000000000000000000.log"), file(0, &[whole[..9].to_vec()])).unwrap();
        assert!(read(dir.path()).unwrap_err().contains("offset 0 is damaged"));
    }
}
