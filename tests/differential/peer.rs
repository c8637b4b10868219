//! One of the two brokers asked, over a bare connection, with a transcript of what it answered.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use causeway_wire::header::ResponseHeader;
use causeway_wire::messages::api_versions::ApiVersionsRequest;
use causeway_wire::messages::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use causeway_wire::messages::list_groups::ListGroupsRequest;
use causeway_wire::messages::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use causeway_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use causeway_wire::records::{BatchBuilder, Codec};
use causeway_wire::{ApiKey, ErrorCode, Message, Request, Uuid, frame};

/// A broker that gives no answer for so long will not give one; what a case asks to wait for is shorter.
const PATIENCE: Duration = Duration::from_secs(8);
/// Codes that say "ask again": a coordinator that loads, a leader that is not ready yet.
const AGAIN: &[ErrorCode] = &[
    ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode::COORDINATOR_NOT_AVAILABLE,
    ErrorCode::NOT_COORDINATOR,
    ErrorCode::NOT_LEADER_OR_FOLLOWER,
];

/// One broker and what it said in the case that runs.
pub struct Peer {
    address: String,
    stream: TcpStream,
    next: i32,
    /// Versions offered, by key.
    pub offered: BTreeMap<i16, (i16, i16)>,
    /// What the running case saw, line by line.
    pub transcript: Vec<String>,
    /// APIs that any case asked for.
    pub asked: BTreeSet<ApiKey>,
    /// Whether the running case asked for an API or version that is not offered.
    pub absent: Option<String>,
    /// The client id that requests carry.
    pub client_id: &'static str,
    /// The node's number.
    pub node: i32,
    /// What there was when the running case began.
    before: State,
    /// Requests that their version cannot carry: mistakes in a case.
    pub unsaid: Vec<String>,
    /// Whether the last request was neither answered nor did it end the connection.
    silent: bool,
}

/// Bounds of each partition by topic, and groups with their states.
#[derive(Default, Clone)]
struct State {
    topics: BTreeMap<String, Vec<(i64, i64)>>,
    groups: BTreeMap<String, String>,
}

impl Peer {
    pub fn connect(address: &str) -> Self {
        let mut peer = Self {
            address: address.to_owned(),
            stream: open(address),
            next: 0,
            offered: BTreeMap::new(),
            transcript: Vec::new(),
            asked: BTreeSet::new(),
            absent: None,
            client_id: "odd",
            node: 0,
            before: State::default(),
            unsaid: Vec::new(),
            silent: false,
        };
        let hello = ApiVersionsRequest {
            client_software_name: "odd".into(),
            client_software_version: "1".into(),
            ..Default::default()
        };
        let offered = peer.exchange(3, &hello).expect("an answer to ApiVersions");
        peer.offered = offered.api_keys.iter().map(|k| (k.api_key, (k.min_version, k.max_version))).collect();
        let asked = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
        peer.node = peer.exchange(9, &asked).unwrap().brokers[0].node_id;
        peer
    }

    /// Leaves the connection for a new one.
    pub fn reconnect(&mut self) {
        self.stream = open(&self.address);
    }

    /// Writes a line of the transcript.
    pub fn log(&mut self, line: impl std::fmt::Display) {
        self.transcript.push(line.to_string());
    }

    /// Asks, and notes every error code of the answer; none if the connection was closed instead.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        self.asked.insert(R::KEY);
        if !self.offers(R::KEY, version) {
            self.absent = Some(format!("{} version {version}", R::KEY));
            return None;
        }
        let answer = self.quiet(version, request);
        let without = if self.silent { "silence" } else { "closed" };
        let what = answer.as_ref().map_or_else(|| without.to_owned(), codes);
        self.log(format_args!("{} v{version}: {what}", R::KEY));
        answer
    }

    /// Asks without a word in the transcript, again while the broker says that it is not ready.
    pub fn quiet<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.exchange(version, request);
            let mut again = false;
            answer.iter().for_each(|a| a.each_error(&mut |code| again |= AGAIN.contains(&code)));
            if !again || Instant::now() > end {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn offers(&self, key: ApiKey, version: i16) -> bool {
        self.offered.get(&i16::from(key)).is_some_and(|(low, high)| (*low..=*high).contains(&version))
    }

    fn exchange<R: Request>(&mut self, version: i16, request: &R) -> Option<R::Response> {
        self.next += 1;
        let mut buf = BytesMut::new();
        if let Err(error) = frame::put_request(&mut buf, version, self.next, Some(self.client_id), request) {
            self.unsaid.push(format!("{} v{version}: {error}", R::KEY));
            return None;
        }
        let mut answer = self.raw(&buf)?;
        let header = ResponseHeader::decode(R::response_header_version(version), &mut answer).unwrap();
        assert_eq!(header.correlation_id, self.next, "answers come in the order of requests");
        Some(R::Response::decode(version, &mut answer).unwrap_or_else(|e| panic!("{} v{version}: {e}", R::KEY)))
    }

    /// Sends bytes and reads one frame; none if the broker closed the connection, which is then opened anew.
    pub fn raw(&mut self, bytes: &[u8]) -> Option<Bytes> {
        let answer = self.send_and_read(bytes);
        if answer.is_none() {
            self.reconnect();
        }
        answer
    }

    fn send_and_read(&mut self, bytes: &[u8]) -> Option<Bytes> {
        self.stream.write_all(bytes).ok()?;
        let mut length = [0; 4];
        let read = self.stream.read_exact(&mut length);
        self.silent = read.as_ref().is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
        read.ok()?;
        let mut body = vec![0; i32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut body).ok()?;
        Some(Bytes::from(body))
    }

    /// Sends a request whose body the case wrote by hand; notes how much came back, with its first two bytes.
    pub fn body(&mut self, key: i16, version: i16, body: &[u8]) {
        let mut buf = BytesMut::new();
        let header = causeway_wire::header::RequestHeader {
            api_key: key,
            api_version: version,
            correlation_id: 9,
            client_id: Some(self.client_id.into()),
        };
        let flexible = ApiKey::try_from(key).map_or(1, |k| k.request_header_version(version));
        header.encode(flexible, &mut buf).unwrap();
        buf.extend_from_slice(body);
        let mut framed = BytesMut::from(&(buf.len() as u32).to_be_bytes()[..]);
        framed.extend_from_slice(&buf);
        let what = match self.raw(&framed) {
            None => "closed".to_owned(),
            Some(mut answer) => {
                let correlation = answer.get_i32();
                format!("answered {correlation}")
            }
        };
        self.log(format_args!("key {key} v{version}: {what}"));
    }

    /// Makes a topic and waits until every partition can be used.
    pub fn create(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) {
        let config = |(k, v): &(&str, &str)| CreatableTopicConfig {
            name: (*k).into(),
            value: Some((*v).into()),
            ..Default::default()
        };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions,
            replication_factor: 1,
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let answer = self.quiet(7, &request).unwrap();
        assert!([0, 36].contains(&answer.topics[0].error_code), "creating {name}: {answer:?}");
        let end = Instant::now() + PATIENCE;
        while (0..partitions).any(|p| self.offset(name, p, -1).is_none()) {
            assert!(Instant::now() < end, "{name} does not get ready");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The end (-1) or start (-2) of a partition, if it can be told.
    pub fn offset(&mut self, topic: &str, partition: i32, timestamp: i64) -> Option<i64> {
        let asked = ListOffsetsPartition { partition_index: partition, timestamp, ..Default::default() };
        let topic = ListOffsetsTopic { name: topic.into(), partitions: vec![asked], ..Default::default() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let answer = self.exchange(6, &request)?;
        let found = &answer.topics[0].partitions[0];
        (found.error_code == 0).then_some(found.offset)
    }

    /// The id of a topic.
    pub fn topic_id(&mut self, name: &str) -> Uuid {
        let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
        let request =
            MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation: false, ..Default::default() };
        self.quiet(12, &request).unwrap().topics[0].topic_id
    }

    /// Remembers what there is, so that a case can be told by what it changed.
    pub fn begin(&mut self) {
        self.transcript.clear();
        self.absent = None;
        self.client_id = "odd";
        self.before = self.look();
    }

    /// An offset counted from where the partition ended when the case began.
    pub fn since(&self, topic: &str, partition: i32, offset: i64) -> i64 {
        let bounds = self.before.topics.get(topic).and_then(|all| all.get(partition as usize));
        if offset < 0 { offset } else { offset - bounds.map_or(0, |(_, end)| *end) }
    }

    /// What the case changed. Internal topics are the broker's own business.
    pub fn changes(&mut self) -> Vec<String> {
        let (now, before) = (self.look(), self.before.clone());
        let mut lines = Vec::new();
        for (name, bounds) in &now.topics {
            let old = before.topics.get(name).cloned().unwrap_or_default();
            let at = |i: usize| old.get(i).copied().unwrap_or((0, 0));
            let moved: Vec<_> = bounds.iter().enumerate().map(|(i, b)| (b.0 - at(i).0, b.1 - at(i).1)).collect();
            if old.len() != bounds.len() || moved.iter().any(|m| *m != (0, 0)) {
                lines.push(format!("topic {name}: {} -> {} partitions, moved by {moved:?}", old.len(), bounds.len()));
            }
        }
        let gone = before.topics.keys().filter(|name| !now.topics.contains_key(*name));
        lines.extend(gone.map(|name| format!("topic {name}: gone")));
        let changed = now.groups.iter().filter(|(name, state)| before.groups.get(*name) != Some(state));
        lines.extend(changed.map(|(name, state)| format!("group {name}: {state}")));
        let gone = before.groups.keys().filter(|name| !now.groups.contains_key(*name));
        lines.extend(gone.map(|name| format!("group {name}: gone")));
        lines
    }

    fn look(&mut self) -> State {
        let request = MetadataRequest { topics: None, ..Default::default() };
        let topics = self.quiet(12, &request).unwrap().topics;
        let mut state = State::default();
        for topic in topics.iter().filter(|t| !t.is_internal) {
            let name = topic.name.clone().unwrap_or_default();
            let bound = |peer: &mut Self, p, timestamp| peer.offset(&name, p, timestamp).unwrap_or(-1);
            let count = topic.partitions.len() as i32;
            let bounds = (0..count).map(|p| (bound(self, p, -2), bound(self, p, -1))).collect();
            state.topics.insert(name, bounds);
        }
        let groups = self.quiet(4, &ListGroupsRequest::default()).unwrap().groups;
        let named = groups.iter().map(|g| (g.group_id.clone(), format!("{:?} {}", g.protocol_type, g.group_state)));
        state.groups.extend(named);
        state
    }
}

fn open(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Every error code of a message, by name. Sorted: in which order things are answered is nobody's promise.
fn codes<M: Message>(answer: &M) -> String {
    let mut found: Vec<&'static str> = Vec::new();
    answer.each_error(&mut |code| found.push(code.name()));
    found.sort_unstable();
    found.join(" ")
}

/// A batch with these values, each record keyed, uncompressed.
pub fn batch(values: &[&str]) -> Bytes {
    build(BatchBuilder::new(Codec::None), values)
}

pub fn build(mut builder: BatchBuilder, values: &[&str]) -> Bytes {
    for (i, value) in values.iter().enumerate() {
        builder.push(now(), Some(format!("k{i}").as_bytes()), Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

pub fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64
}
