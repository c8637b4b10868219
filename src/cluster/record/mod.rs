//! The record engine: rdkafka's `BaseConsumer` and `BaseProducer` behind the two ports, record by record.
//!
//! Headers are taken over as librdkafka holds them (`detach` copies names with their lengths), never read through Rust strings: rdkafka would
//! panic at a header key that is not UTF-8 and cut one at NUL.

mod confirm;
mod exact;
mod landed;
mod lookup;
mod probe;
pub mod raw;
mod sabotage;
mod sink;
mod source;

use std::ops::Range;

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::message::OwnedHeaders;

use super::ClusterSpec;

pub use sink::{RecordSink, SinkSettings};
pub use source::RecordSource;

/// librdkafka calls itself by this name at the brokers.
const CLIENT_ID: &str = "causeway";
/// librdkafka wants a name before it lets partitions be assigned. No group is joined and nothing is committed under it.
const GROUP_ID: &str = "causeway-unused";
/// The first wait before a reconnect, ms.
const RECONNECT_BACKOFF_MS: &str = "100";
/// The longest wait before a reconnect, ms: how long a broker may be back before we notice. librdkafka spreads it by a quarter.
const RECONNECT_BACKOFF_MAX_MS: &str = "2000";

/// One record of a batch; key and value lie in the batch's arena.
#[derive(Debug, Clone)]
pub struct Item {
    /// Its offset on the source.
    pub offset: i64,
    /// Its timestamp, ms; -1 when it has none.
    pub timestamp: i64,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    /// Its headers.
    pub headers: Headers,
}

/// A record's headers, as their bytes.
pub type RawHeaders = Vec<(Bytes, Option<Bytes>)>;

/// The headers of a record.
#[derive(Debug, Clone, Default)]
pub enum Headers {
    /// None.
    #[default]
    None,
    /// In librdkafka's own form: copied without ever reading a key as text.
    Detached(OwnedHeaders),
    /// As bytes, where they had to be looked at.
    Raw(RawHeaders),
}

/// The payload of a batch of the record engine: one arena for all keys and values.
#[derive(Debug, Clone, Default)]
pub struct Records {
    arena: Vec<u8>,
    items: Vec<Item>,
}

impl Records {
    /// The records in offset order.
    #[must_use]
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// How many bytes of keys and values it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// The item's key.
    #[must_use]
    pub fn key(&self, item: &Item) -> Option<&[u8]> {
        item.key.clone().map(|range| &self.arena[range])
    }

    /// The item's value.
    #[must_use]
    pub fn value(&self, item: &Item) -> Option<&[u8]> {
        item.value.clone().map(|range| &self.arena[range])
    }

    /// Puts these headers in the place of what the record at `index` had.
    pub fn set_headers(&mut self, index: usize, headers: RawHeaders) {
        self.items[index].headers = if headers.is_empty() { Headers::None } else { Headers::Raw(headers) };
    }

    /// Leaves out everything from this source offset on.
    fn truncate(&mut self, from: i64) {
        self.items.retain(|item| item.offset < from);
    }

    fn push(&mut self, offset: i64, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: Headers) {
        let mut put = |bytes: &[u8]| {
            let from = self.arena.len();
            self.arena.extend_from_slice(bytes);
            from..self.arena.len()
        };
        let (key, value) = (key.map(&mut put), value.map(&mut put));
        self.items.push(Item { offset, timestamp, key, value, headers });
    }
}

/// What both ends have in common: addresses, the operator's settings, reconnects.
fn base_config(spec: &ClusterSpec) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", spec.bootstrap.join(","))
        .set("client.id", CLIENT_ID)
        .set("reconnect.backoff.ms", RECONNECT_BACKOFF_MS)
        .set("reconnect.backoff.max.ms", RECONNECT_BACKOFF_MAX_MS)
        .set("log.connection.close", "false");
    for (key, value) in &spec.client {
        config.set(key, value);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_stay_apart() {
        let mut records = Records::default();
        records.push(7, 1, None, Some(b""), Headers::None);
        records.push(9, 2, Some(b"k"), None, Headers::None);
        let [first, second] = records.items() else { panic!("two records") };
        assert_eq!((records.key(first), records.value(first)), (None, Some(&b""[..])));
        assert_eq!((records.key(second), records.value(second)), (Some(&b"k"[..]), None));
        assert_eq!(records.bytes(), 1);
    }
}
