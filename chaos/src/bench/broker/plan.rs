//! Which rows there are, by name.

use crate::bench::nodes::Flush;

/// Size of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// 100 bytes.
    Small,
    /// 1 KiB.
    Kilo,
    /// 64 KiB.
    Large,
}

impl Size {
    const ALL: [Self; 3] = [Self::Small, Self::Kilo, Self::Large];

    /// As in the names of rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "100B",
            Self::Kilo => "1KB",
            Self::Large => "64KB",
        }
    }

    /// Bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::Small => 100,
            Self::Kilo => 1 << 10,
            Self::Large => 64 << 10,
        }
    }

    /// Records a second of a latency run: far below what either side can do.
    pub fn rate(self) -> u64 {
        match self {
            Self::Small => 20_000,
            Self::Kilo => 10_000,
            Self::Large => 300,
        }
    }
}

/// A way to load the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// Size of the records.
    pub size: Size,
    /// Codec of the batches.
    pub codec: &'static str,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Which client, where it is not Kafka's own; ends the row's first part.
    pub client: &'static str,
}

impl Cell {
    /// Name of the row for producing.
    pub fn produce_row(&self, flush: Flush) -> String {
        format!("produce-cpu{}/{}/{}", self.client, self.shape(), flush.name())
    }

    /// Name of the row for fetching.
    pub fn fetch_row(&self) -> String {
        format!("fetch-cpu{}/{}", self.client, self.shape())
    }

    /// All its rows.
    pub fn rows(&self) -> Vec<String> {
        vec![self.produce_row(Flush::Os), self.produce_row(Flush::Ack), self.fetch_row()]
    }

    fn shape(&self) -> String {
        format!("{}/{}/p{}", self.size.name(), self.codec, self.partitions)
    }
}

/// A load at an even pace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paced {
    /// Size of the records.
    pub size: Size,
    /// Partitions of the topic.
    pub partitions: i32,
    /// When it is flushed.
    pub flush: Flush,
}

impl Paced {
    /// Name of its row.
    pub fn row(&self) -> String {
        format!("p99/{}/none/p{}/{}", self.size.name(), self.partitions, self.flush.name())
    }
}

/// Every size by every codec by one and a hundred partitions.
pub fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for size in Size::ALL {
        for codec in ["none", "lz4", "zstd"] {
            cells.extend([1, 100].map(|partitions| Cell { size, codec, partitions, client: "" }));
        }
    }
    cells
}

/// By librdkafka, whose tool repeats a pattern: codecs would measure nothing.
pub fn rdkafka_cells() -> Vec<Cell> {
    let cell = |size, partitions| Cell { size, codec: "none", partitions, client: "-rdkafka" };
    Size::ALL.into_iter().flat_map(|size| [cell(size, 1), cell(size, 100)]).collect()
}

/// The latencies: every size on one partition, and kilobytes on a hundred.
pub fn paces() -> Vec<Paced> {
    let mut paces = Vec::new();
    for flush in [Flush::Os, Flush::Ack] {
        paces.extend(Size::ALL.map(|size| Paced { size, partitions: 1, flush }));
        paces.push(Paced { size: Size::Kilo, partitions: 100, flush });
    }
    paces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own_that_says_how() {
        let mut names: Vec<String> = cells().iter().chain(&rdkafka_cells()).flat_map(Cell::rows).collect();
        names.extend(paces().iter().map(Paced::row));
        assert!(names.contains(&"produce-cpu/1KB/none/p1/flush-os".to_owned()), "{names:?}");
        assert!(names.contains(&"produce-cpu/64KB/zstd/p100/flush-ack".to_owned()));
        assert!(names.contains(&"fetch-cpu-rdkafka/100B/none/p1".to_owned()));
        assert!(names.contains(&"p99/1KB/none/p100/flush-ack".to_owned()));
        let all = names.len();
        assert_eq!(all, 18 * 3 + 6 * 3 + 8);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
