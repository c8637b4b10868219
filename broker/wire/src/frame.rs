//! Frames: an i32 length, then so many bytes. The length is judged before anything is buffered for it.

use crate::header::{RequestHeader, ResponseHeader};
use crate::{EncodeError, Message, Request};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of the length before a frame.
pub const LENGTH_BYTES: usize = 4;
/// First reservation for a frame, in bytes: a peer must send data before it gets more of our memory than this.
const FIRST_RESERVE: usize = 64 << 10;

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
