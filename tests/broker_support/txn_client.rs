//! A transactional producer of version 2 (KIP-890) on a bare connection, that asks again until it is answered.

use std::io::{Error, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use causeway_wire::header::ResponseHeader;
use causeway_wire::messages::end_txn::EndTxnRequest;
use causeway_wire::messages::init_producer_id::InitProducerIdRequest;
use causeway_wire::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use causeway_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use causeway_wire::records::{BatchBuilder, Codec};
use causeway_wire::{ErrorCode, Message, Request, frame};

use super::PATIENCE;

/// Codes after which the same request may be sent again.
const AGAIN: [ErrorCode; 5] = [
    ErrorCode::CONCURRENT_TRANSACTIONS,
    ErrorCode::NOT_ENOUGH_REPLICAS,
    ErrorCode::COORDINATOR_NOT_AVAILABLE,
    ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode::REQUEST_TIMED_OUT,
];

pub struct TxnClient {
    address: String,
    id: String,
    stream: Option<TcpStream>,
    producer: (i64, i16),
    sequences: [i32; 2],
}

impl TxnClient {
    /// Takes the transactional id.
    pub fn new(address: &str, id: &str) -> Self {
        let mut client =
            Self { address: address.into(), id: id.into(), stream: None, producer: (-1, -1), sequences: [0; 2] };
        let request = InitProducerIdRequest {
            transactional_id: Some(id.into()),
            transaction_timeout_ms: 120_000,
            ..Default::default()
        };
        let answer = client.ask(4, &request, |answer| answer.error_code);
        client.producer = (answer.producer_id, answer.producer_epoch);
        client
    }

    /// Writes one record to a partition, once however often it has to be sent.
    pub fn write(&mut self, topic: &str, partition: i32, key: &str) {
        let sequence = self.sequences[partition as usize];
        let builder = BatchBuilder::new(Codec::None).transactional(true);
        let mut builder = builder.producer(self.producer.0, self.producer.1, sequence);
        builder.push(-1, Some(key.as_bytes()), Some(b"x"), &[]).unwrap();
        let records = Some(builder.build().unwrap());
        let data = PartitionProduceData { index: partition, records, ..Default::default() };
        let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
        let request = ProduceRequest {
            transactional_id: Some(self.id.clone()),
            acks: -1,
            timeout_ms: 10_000,
            topic_data: vec![topic],
            ..Default::default()
        };
        self.ask(12, &request, |answer| answer.responses[0].partition_responses[0].error_code);
        self.sequences[partition as usize] += 1;
    }

    /// Commits a group's place in partition 0 with the transaction.
    pub fn place(&mut self, group: &str, topic: &str, offset: i64) {
        let partition = TxnOffsetCommitRequestPartition { committed_offset: offset, ..Default::default() };
        let partitions = vec![partition];
        let topic = TxnOffsetCommitRequestTopic { name: topic.into(), partitions, ..Default::default() };
        let request = TxnOffsetCommitRequest {
            transactional_id: self.id.clone(),
            group_id: group.into(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            generation_id: -1,
            topics: vec![topic],
            ..Default::default()
        };
        self.ask(5, &request, |answer| answer.topics[0].partitions[0].error_code);
    }

    /// Ends the transaction; there is no outcome but the one asked for.
    pub fn end(&mut self, committed: bool) {
        let request = EndTxnRequest {
            transactional_id: self.id.clone(),
            producer_id: self.producer.0,
            producer_epoch: self.producer.1,
            committed,
            ..Default::default()
        };
        let answer = self.ask(5, &request, |answer| answer.error_code);
        assert!(answer.producer_epoch > self.producer.1 || answer.producer_id != self.producer.0, "a new epoch");
        (self.producer, self.sequences) = ((answer.producer_id, answer.producer_epoch), [0; 2]);
    }

    /// Sends a request until it is answered for good.
    fn ask<R: Request>(&mut self, version: i16, request: &R, code: impl Fn(&R::Response) -> i16) -> R::Response {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.call(version, request) {
                Ok(answer) if code(&answer) == 0 => return answer,
                Ok(answer) => {
                    let code = ErrorCode(code(&answer));
                    assert!(AGAIN.contains(&code), "{} is answered with {}", R::NAME, code.name());
                }
                Err(_) => self.stream = None,
            }
            assert!(Instant::now() < deadline, "{} is not answered", R::NAME);
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    fn call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response, Error> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(&self.address)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            self.stream = Some(stream);
        }
        let stream = self.stream.as_mut().expect("set above");
        let mut out = BytesMut::new();
        frame::put_request(&mut out, version, 1, Some("txn"), request).unwrap();
        stream.write_all(&out)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut body)?;
        let mut body = Bytes::from(body);
        ResponseHeader::decode(R::response_header_version(version), &mut body).unwrap();
        Ok(R::Response::decode(version, &mut body).unwrap())
    }
}
