//! Headers as bytes, read from the raw batches: only flows on a cycle need them, and rdkafka would read their keys as text.

use std::collections::HashMap;

use bytes::Bytes;
use causeway_wire::client::Isolation;
use causeway_wire::records::{Batches, DECOMPRESSED_BYTES_MAX, Record};

use super::{Headers, RawHeaders, Records};
use crate::cluster::offsets::Partition;
use crate::cluster::{Admin, ClusterError};
use crate::core::batch::SourceRange;
use crate::core::ids::{PartitionId, SourceOffset, TargetOffset};
use crate::core::provenance::{self, Claim, Found, HEADER, Hop};

/// Bytes per fetch: a range that was just read comes in one or two of them.
const FETCH_BYTES: i32 = 4 << 20;
/// Offsets in a window: a fraction of a second to read.
const WINDOW_OFFSETS: i64 = 4_096;
/// Fetches that bring nothing new before a range counts as unreadable.
const EMPTY_FETCHES_MAX: u32 = 3;

/// Replaces the headers of these records by what the raw batches of the range hold, and answers the provenance claimed in them, in offset order.
pub(super) async fn look(
    admin: &Admin,
    key: &Partition,
    range: SourceRange,
    records: &mut Records,
) -> Result<Vec<Claim>, ClusterError> {
    let mut claims = Vec::new();
    if records.items().iter().all(|item| matches!(item.headers, Headers::None)) {
        return Ok(claims);
    }
    let mut headers = headers_of(admin, key, range).await?;
    for index in 0..records.items().len() {
        let item = &records.items()[index];
        let at = SourceOffset(item.offset);
        let Some(headers) = headers.remove(&item.offset) else { continue };
        let ours: Vec<&Option<Bytes>> =
            headers.iter().filter(|(key, _)| key == HEADER.as_bytes()).map(|(_, value)| value).collect();
        if let Some(value) = ours.first() {
            let content = content(records.key(item), records.value(item), &headers);
            claims.push(Claim::read(at, value.as_deref().unwrap_or_default(), ours.len(), content));
        }
        records.set_headers(index, headers);
    }
    Ok(claims)
}

/// Whether rdkafka writes a header key as it is: it takes UTF-8 without NUL.
pub(super) fn is_fit(key: &[u8]) -> bool {
    !key.contains(&0) && std::str::from_utf8(key).is_ok()
}

/// Digest of a record's content, our own header left out.
#[must_use]
pub fn content(key: Option<&[u8]>, value: Option<&[u8]>, headers: &RawHeaders) -> u64 {
    provenance::digest(key, value, headers.iter().map(|(key, value)| (&key[..], value.as_deref())))
}

/// Sets the provenance header of the record at `index`: the hops it came with, and the one it leaves from.
pub fn stamp(records: &mut Records, index: usize, before: &[Hop], own: &Hop) {
    let item = &records.items()[index];
    let mut headers = match &item.headers {
        Headers::Raw(headers) => headers.clone(),
        // detached headers do not come through here: `look` made them raw
        Headers::None | Headers::Detached(_) => RawHeaders::new(),
    };
    headers.retain(|(key, _)| key != HEADER.as_bytes());
    let content = content(records.key(item), records.value(item), &headers);
    let value = provenance::encode(content, before, own);
    headers.push((Bytes::from_static(HEADER.as_bytes()), Some(Bytes::from(value))));
    records.set_headers(index, headers);
}

async fn headers_of(
    admin: &Admin,
    key: &Partition,
    range: SourceRange,
) -> Result<HashMap<i64, RawHeaders>, ClusterError> {
    let mut found = HashMap::new();
    let take = |offset: i64, record: Record| {
        if range.contains(SourceOffset(offset)) && !record.headers.is_empty() {
            found.insert(offset, record.headers.into_iter().map(|header| (header.key, header.value)).collect());
        }
    };
    read(admin, key, range.from.get(), range.to.get(), take).await?;
    Ok(found)
}

/// The records of `[from, to)` as they lie in the log, control batches left out.
async fn read(
    admin: &Admin,
    key: &Partition,
    from: i64,
    to: i64,
    mut take: impl FnMut(i64, Record),
) -> Result<(), ClusterError> {
    let unreadable = |detail: String| ClusterError::Unreadable {
        alias: admin.alias().to_owned(),
        topic: format!("{}-{}", key.0, key.1),
        detail,
    };
    let mut next = from;
    let mut empty = 0;
    while next < to {
        let fetch = admin.client().fetch_batches(&key.0, key.1, next, FETCH_BYTES, Isolation::ReadUncommitted);
        let fetched = fetch.await.map_err(|error| admin.fail(error))?;
        let before = next;
        for batch in Batches::new(fetched.batches) {
            let batch = batch.map_err(|error| unreadable(error.to_string()))?;
            if next >= to {
                break;
            }
            if !batch.header.attributes.is_control() {
                let records = batch.records(DECOMPRESSED_BYTES_MAX).map_err(|error| unreadable(error.to_string()))?;
                for record in records {
                    take(batch.header.offset_at(record.offset_delta), record);
                }
            }
            next = next.max(batch.header.next_offset());
        }
        empty = if next == before { empty + 1 } else { 0 };
        if empty > EMPTY_FETCHES_MAX {
            return Err(unreadable(format!("nothing comes at offset {next}")));
        }
    }
    Ok(())
}

/// Digests of a stretch of a target's log: claims come in runs, so one read answers many of them. The log below its end never changes.
#[derive(Debug, Clone)]
pub struct Window {
    from: i64,
    to: i64,
    digests: HashMap<i64, u64>,
}

impl Window {
    /// What lies at `at`; `None` when the window does not reach it.
    #[must_use]
    pub fn find(&self, at: TargetOffset) -> Option<Found> {
        let within = self.from <= at.get() && at.get() < self.to;
        within.then(|| self.digests.get(&at.get()).map_or(Found::Nothing, |digest| Found::Record(*digest)))
    }

    /// Reads a stretch from `at` on, bounded by one fetch. An offset outside of the log gives a window in which nothing lies.
    ///
    /// # Errors
    /// The target does not answer, or a batch cannot be read.
    pub async fn read(
        admin: &Admin,
        topic: &str,
        partition: PartitionId,
        at: TargetOffset,
    ) -> Result<Window, ClusterError> {
        let key = (topic.to_owned(), partition.0);
        let ends = admin.target_ends(std::slice::from_ref(&key)).await?.remove(&key).transpose()?;
        let mut window = Window { from: at.get(), to: at.get() + 1, digests: HashMap::new() };
        let Some(end) = ends.filter(|ends| ends.log_start <= at && at < ends.log_end).map(|ends| ends.log_end) else {
            return Ok(window);
        };
        window.to = end.get().min(at.get() + WINDOW_OFFSETS);
        let take = |offset: i64, record: Record| {
            let headers = record.headers.into_iter().map(|header| (header.key, header.value)).collect();
            window.digests.insert(offset, content(record.key.as_deref(), record.value.as_deref(), &headers));
        };
        read(admin, &key, at.get(), window.to, take).await?;
        Ok(window)
    }
}
