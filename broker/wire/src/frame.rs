//! Frames: an i32 length, then so many bytes. The length is judged before anything is buffered for it.

use crate::codec::Around;
use crate::header::{RequestHeader, ResponseHeader};
use crate::{EncodeError, Message, Request};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of the length before a frame.
pub const LENGTH_BYTES: usize = 4;
/// First reservation for a frame, in bytes: a peer must send data before it gets more of our memory than this. Kafka's default fetch and batch sizes fit.
const FIRST_RESERVE: usize = 1 << 20;

/// Why no frame could be read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer announced more than the limit, or a negative length.
    #[error("frame of {length} bytes announced, the limit is {limit}")]
    TooLarge {
        /// Announced length.
        length: i64,
        /// Our limit.
        limit: usize,
    },
    /// The first bytes are those of another protocol.
    #[error("not the Kafka protocol: the peer speaks {0}")]
    Foreign(&'static str),
    /// The connection ended inside a frame.
    #[error("connection closed inside a frame")]
    Closed,
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Judges the length field of a frame.
///
/// # Errors
/// [`FrameError::Foreign`] if it spells a well-known other protocol, [`FrameError::TooLarge`] if it is negative or beyond `limit`.
pub fn check_length(field: [u8; LENGTH_BYTES], limit: usize) -> Result<usize, FrameError> {
    let length = i32::from_be_bytes(field);
    match usize::try_from(length) {
        Ok(length) if length <= limit => Ok(length),
        _ => Err(foreign(field).map_or(FrameError::TooLarge { length: i64::from(length), limit }, FrameError::Foreign)),
    }
}

/// Name of the protocol that starts with these four bytes, if it is one that people mistake for Kafka's.
fn foreign(field: [u8; LENGTH_BYTES]) -> Option<&'static str> {
    match &field {
        b"HTTP" | b"GET " | b"POST" | b"PUT " | b"HEAD" | b"DELE" | b"OPTI" | b"PATC" | b"CONN" | b"PRI " => {
            Some("HTTP")
        }
        b"SSH-" => Some("SSH"),
        b"220 " | b"220-" => Some("SMTP or FTP"),
        b"-ERR" => Some("Redis"),
        // TLS records: alert, handshake; a Kafka length that starts so would be over 335 MB.
        [0x15 | 0x16, 0x03, 0..=4, _] => Some("TLS"),
        _ => None,
    }
}

/// Takes one whole frame, without its length, off the front of `buf`; none if more bytes are needed.
///
/// # Errors
/// As [`check_length`].
pub fn take_frame(buf: &mut BytesMut, limit: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(field) = buf.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = check_length(*field, limit)?;
    if buf.len() - LENGTH_BYTES < length {
        return Ok(None);
    }
    buf.advance(LENGTH_BYTES);
    Ok(Some(buf.split_to(length).freeze()))
}

/// Reads one frame, without its length; none if the peer closed between frames. Memory grows with the bytes that came, not with the length announced.
///
/// # Errors
/// A length beyond `limit`, another protocol, or a connection that ended or failed.
pub async fn read_frame<R: AsyncRead + Unpin>(reader: &mut R, limit: usize) -> Result<Option<Bytes>, FrameError> {
    let mut field = [0; LENGTH_BYTES];
    let first = reader.read(&mut field).await?;
    if first == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut field[first..]).await.map_err(closed)?;
    let length = check_length(field, limit)?;
    read_body(reader, length).await.map(Some)
}

/// Reads the `length` bytes of a frame whose length was judged by [`check_length`].
///
/// # Errors
/// A connection that ended or failed.
pub async fn read_body<R: AsyncRead + Unpin>(reader: &mut R, length: usize) -> Result<Bytes, FrameError> {
    let mut body = BytesMut::with_capacity(length.min(FIRST_RESERVE));
    while body.len() < length {
        if body.capacity() == body.len() {
            body.reserve((length - body.len()).min(body.len().max(FIRST_RESERVE)));
        }
        let left = length - body.len();
        let mut room = (&mut body).limit(left);
        if reader.read_buf(&mut room).await? == 0 {
            return Err(FrameError::Closed);
        }
    }
    Ok(body.freeze())
}

fn closed(error: io::Error) -> FrameError {
    if error.kind() == io::ErrorKind::UnexpectedEof { FrameError::Closed } else { FrameError::Io(error) }
}

/// Appends a request as a whole frame: length, header, body.
///
/// # Errors
/// Values that the version cannot carry; `buf` is then as it was.
pub fn put_request<R: Request>(
    buf: &mut BytesMut,
    version: i16,
    correlation_id: i32,
    client_id: Option<&str>,
    request: &R,
) -> Result<(), EncodeError> {
    let header = RequestHeader {
        api_key: R::KEY.into(),
        api_version: version,
        correlation_id,
        client_id: client_id.map(str::to_owned),
    };
    put_frame(buf, |buf| {
        header.encode(R::header_version(version), buf)?;
        request.encode(version, buf)
    })
}

/// Appends a response as a whole frame: length, header of `header_version`, body.
///
/// # Errors
/// Values that the version cannot carry; `buf` is then as it was.
pub fn put_response<M: Message>(
    buf: &mut BytesMut,
    header_version: i16,
    version: i16,
    correlation_id: i32,
    response: &M,
) -> Result<(), EncodeError> {
    put_frame(buf, |buf| {
        ResponseHeader { correlation_id }.encode(header_version, buf);
        response.encode(version, buf)
    })
}

/// A response as a whole frame in pieces, in order: large records are pieces that share their memory.
///
/// # Errors
/// Values that the version cannot carry.
pub fn response_parts<M: Message>(
    header_version: i16,
    version: i16,
    correlation_id: i32,
    response: &M,
) -> Result<Vec<Bytes>, EncodeError> {
    let (mut buf, mut around) = (BytesMut::new(), Around::keeping());
    buf.put_i32(0);
    ResponseHeader { correlation_id }.encode(header_version, &mut buf);
    response.encode_around(version, &mut buf, &mut around)?;
    let length = buf.len() - LENGTH_BYTES + around.bytes();
    let field = i32::try_from(length).map_err(|_| EncodeError::TooLong { length })?;
    buf[..LENGTH_BYTES].copy_from_slice(&field.to_be_bytes());
    Ok(around.into_parts(&buf.freeze()))
}

fn put_frame(
    buf: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> Result<(), EncodeError>,
) -> Result<(), EncodeError> {
    let start = buf.len();
    buf.put_i32(0);
    let written = write(buf).and_then(|()| {
        let length = buf.len() - start - LENGTH_BYTES;
        i32::try_from(length).map_err(|_| EncodeError::TooLong { length })
    });
    match written {
        Ok(length) => {
            buf[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
            Ok(())
        }
        Err(error) => {
            buf.truncate(start);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
    use crate::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

    const LIMIT: usize = 1 << 20;

    #[test]
    fn a_frame_in_pieces_is_the_frame_in_one() {
        let records = |len: usize| Some(Bytes::from(vec![len as u8; len]));
        let partition =
            |index, len| PartitionData { partition_index: index, records: records(len), ..Default::default() };
        let partitions = vec![partition(0, 0), partition(1, 5_000), partition(2, 100), partition(3, 70_000)];
        for version in FetchResponse::VERSIONS {
            let topic = FetchableTopicResponse { partitions: partitions.clone(), ..Default::default() };
            let response = FetchResponse { responses: vec![topic], ..Default::default() };
            let mut whole = BytesMut::new();
            put_response(&mut whole, 1, version, 7, &response).unwrap();
            let parts = response_parts(1, version, 7, &response).unwrap();
            assert_eq!(parts.concat(), whole, "version {version}");
            assert!(parts.len() >= 4, "two large pieces, and what is before them");
        }
    }

    #[test]
    fn frames_are_taken_whole_and_in_order() {
        let mut buf = BytesMut::new();
        put_request(&mut buf, 4, 1, Some("me"), &HeartbeatRequest::default()).unwrap();
        put_response(&mut buf, 1, 4, 2, &HeartbeatResponse { error_code: 27, ..Default::default() }).unwrap();
        let whole = buf.clone();
        for cut in 0..whole.len() {
            let mut part = BytesMut::from(&whole[..cut]);
            let first = take_frame(&mut part, LIMIT).unwrap();
            let second = if first.is_some() { take_frame(&mut part, LIMIT).unwrap() } else { None };
            assert!(second.is_none(), "cut at {cut}");
        }
        let mut request = take_frame(&mut buf, LIMIT).unwrap().unwrap();
        assert_eq!(RequestHeader::decode(&mut request).unwrap().api_key, 12);
        assert_eq!(HeartbeatRequest::decode(4, &mut request), Ok(HeartbeatRequest::default()));
        let mut response = take_frame(&mut buf, LIMIT).unwrap().unwrap();
        assert_eq!(ResponseHeader::decode(1, &mut response).unwrap().correlation_id, 2);
        assert_eq!(HeartbeatResponse::decode(4, &mut response).unwrap().error_code, 27);
        assert!(buf.is_empty() && response.is_empty());
    }

    #[test]
    fn a_request_that_cannot_be_encoded_leaves_no_half_frame() {
        let mut buf = BytesMut::from(&b"before"[..]);
        let long = HeartbeatRequest { group_id: "x".repeat(40_000), ..Default::default() };
        assert!(put_request(&mut buf, 4, 1, None, &long).is_err());
        assert_eq!(buf.as_ref(), b"before");
    }

    #[test]
    fn lengths_beyond_the_limit_are_refused_and_foreign_words_recognised() {
        let refused = |field: &[u8; 4]| check_length(*field, LIMIT).unwrap_err().to_string();
        assert_eq!(check_length([0, 0x10, 0, 0], LIMIT).unwrap(), LIMIT);
        assert!(refused(&[0, 0x10, 0, 1]).contains("1048577"));
        assert!(refused(&[0xff; 4]).contains("-1 bytes"));
        assert!(refused(b"GET ").contains("HTTP"));
        assert!(refused(&[0x16, 3, 1, 2]).contains("TLS"));
    }

    #[tokio::test]
    async fn reading_buffers_nothing_for_a_length_alone() {
        let (mut peer, mut ours) = tokio::io::duplex(1 << 10);
        let reading = tokio::spawn(async move { read_frame(&mut ours, 1 << 30).await });
        // Half a gigabyte announced, five bytes sent: only the first reservation may be made, and the end is an error.
        tokio::io::AsyncWriteExt::write_all(&mut peer, &[0x20, 0, 0, 0, 1, 2, 3, 4, 5]).await.unwrap();
        drop(peer);
        assert!(matches!(reading.await.unwrap(), Err(FrameError::Closed)));
    }

    #[tokio::test]
    async fn a_frame_longer_than_any_buffer_arrives_whole() {
        let (mut peer, mut ours) = tokio::io::duplex(1 << 10);
        let sent: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
        let copy = sent.clone();
        tokio::spawn(async move {
            let length = (copy.len() as u32).to_be_bytes();
            tokio::io::AsyncWriteExt::write_all(&mut peer, &length).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut peer, &copy).await.unwrap();
        });
        let got = read_frame(&mut ours, LIMIT).await.unwrap().unwrap();
        assert!(got == sent);
        assert!(read_frame(&mut ours, LIMIT).await.unwrap().is_none(), "a close between frames is no error");
    }
}
