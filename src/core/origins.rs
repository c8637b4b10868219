//! Loop prevention by producer (L4): who writes a batch at a cluster tells where its records were born.
//!
//! The batch engine writes what was born on one cluster under one producer ID, and writes that ID down at the target, in the topic [`TOPIC`], before its
//! first batch. A producer ID means one producer for as long as the cluster lives, and it stays on a batch through recompression and compaction. So a
//! flow that reads from there knows of every batch where its records come from, without looking into it and without a mark that an application could
//! copy.
use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{Alias, ClusterId};

/// The topic of every cluster that lists the producers which flows write with: compacted, one partition.
pub const TOPIC: &str = "__causeway.producers";

/// Where records come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Born {
    /// The cluster on which a client of no flow wrote them.
    pub cluster: ClusterId,
    /// What that cluster is called where the flow runs: a hint while the cluster itself cannot be asked.
    pub alias: Alias,
}

/// The producers of flows, by ID.
#[derive(Debug, Default)]
pub struct Producers {
    known: HashMap<i64, Arc<Born>>,
}

impl Producers {
    /// Takes a record of the topic in. What nobody of us wrote there is left alone: `false`.
    pub fn take(&mut self, key: &[u8], value: Option<&[u8]>) -> bool {
        let id = std::str::from_utf8(key).ok().and_then(|key| key.parse().ok());
        let born = value.and_then(|value| serde_json::from_slice(value).ok());
        match (id, born) {
            (Some(id), Some(born)) => {
                self.known.insert(id, Arc::new(born));
                true
            }
            _ => false,
        }
    }

    /// Where the records of this producer were born; `None`: no flow writes with it.
    #[must_use]
    pub fn born(&self, producer_id: i64) -> Option<&Arc<Born>> {
        self.known.get(&producer_id)
    }

    /// Forgets everything: the topic is another one by now.
    pub fn clear(&mut self) {
        self.known.clear();
    }
}

/// Key and value of the record that writes a producer down.
#[must_use]
pub fn record(producer_id: i64, born: &Born) -> (Vec<u8>, Vec<u8>) {
    let value = serde_json::to_vec(born).expect("two texts are always JSON");
    (producer_id.to_string().into_bytes(), value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_down_is_read_and_foreign_records_are_left_alone() {
        let born = Born { cluster: ClusterId::new("c1"), alias: Alias::new("east") };
        let (key, value) = record(4_711, &born);
        let mut producers = Producers::default();
        assert!(producers.take(&key, Some(&value)));
        assert_eq!(producers.born(4_711).map(|born| &**born), Some(&born));
        for (key, value) in [(&b"x"[..], Some(&value[..])), (b"1", None), (b"1", Some(b"{}")), (b"", Some(b"\xff"))] {
            assert!(!producers.take(key, value));
        }
        assert_eq!(producers.born(1), None);
    }
}
