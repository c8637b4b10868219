//! Kafka's wire protocol: framing, headers, messages of every broker-facing API of Apache Kafka 4.3, error codes, and a small client.
//!
//! Messages are described once per API in `schema/` (all versions in one file); `build.rs` makes structs, encoders and decoders of them.
//! No input makes a decoder panic or loop, and what it allocates is bounded by [`messages::ELEMENT_SIZES`].

pub mod client;
pub mod codec;
mod error;
mod error_code;
pub mod frame;
pub mod header;
pub mod messages;
pub mod records;
mod uuid;

use bytes::{Bytes, BytesMut};
use std::ops::RangeInclusive;

pub use error::{DecodeError, EncodeError};
pub use error_code::ErrorCode;
pub use uuid::{Uuid, UuidError};

include!(concat!(env!("OUT_DIR"), "/api_key.rs"));

/// A message of the protocol in all its versions.
pub trait Message: Sized {
    /// Kafka's name of it.
    const NAME: &'static str;
    /// Versions that this crate encodes and decodes.
    const VERSIONS: RangeInclusive<i16>;
    /// First version with compact types and tagged fields (KIP-482); `i16::MAX` where there is none.
    const FIRST_FLEXIBLE: i16;

    /// Appends the message in `version`.
    ///
    /// # Errors
    /// A version outside [`Message::VERSIONS`], or values that it cannot carry; `buf` then holds a part of the message.
    fn encode(&self, version: i16, buf: &mut BytesMut) -> Result<(), EncodeError> {
        self.encode_around(version, buf, &mut codec::Around::default())
    }

    /// As [`encode`](Self::encode), leaving out the records that `around` keeps.
    ///
    /// # Errors
    /// As of [`encode`](Self::encode).
    fn encode_around(&self, version: i16, buf: &mut BytesMut, around: &mut codec::Around) -> Result<(), EncodeError>;

    /// Takes the message off the front of `buf`; bytes after it are left there. Byte fields share `buf`'s memory.
    ///
    /// # Errors
    /// A version outside [`Message::VERSIONS`], or bytes that are not such a message.
    fn decode(version: i16, buf: &mut Bytes) -> Result<Self, DecodeError>;

    /// The field that tells a client how long it is throttled, where the message has one.
    fn throttle_time_ms(&mut self) -> Option<&mut i32> {
        None
    }

    /// Shows `visit` every error code in the message, [`ErrorCode::NONE`] too, outer ones before inner ones.
    fn each_error(&self, visit: &mut dyn FnMut(ErrorCode)) {
        let _ = visit;
    }
}

/// A request, and with it its API.
pub trait Request: Message + Send + Sync + 'static {
    /// The API.
    const KEY: ApiKey;
    /// What the broker answers.
    type Response: Message + Send + 'static;

    /// Version of the header before a request of this `version`.
    fn header_version(version: i16) -> i16 {
        Self::KEY.request_header_version(version)
    }

    /// Version of the header before the answer to a request of this `version`.
    fn response_header_version(version: i16) -> i16 {
        Self::KEY.response_header_version(version)
    }
}

impl ApiKey {
    /// Version of the header before a request of this `version`: 2 has tagged fields, 1 has not.
    pub const fn request_header_version(self, version: i16) -> i16 {
        if version >= self.first_flexible_version() { 2 } else { 1 }
    }

    /// Version of the header before a response of this `version`: 1 has tagged fields, 0 has not. Answers to ApiVersions always have 0, so that a
    /// client can read them before it knows what the broker speaks (KIP-511).
    pub const fn response_header_version(self, version: i16) -> i16 {
        if version >= self.first_flexible_version() && !matches!(self, ApiKey::ApiVersions) { 1 } else { 0 }
    }
}

impl TryFrom<i16> for ApiKey {
    type Error = i16;

    /// The API, or the key itself if this crate does not know it.
    fn try_from(key: i16) -> Result<Self, i16> {
        ApiKey::from_key(key).ok_or(key)
    }
}

impl From<ApiKey> for i16 {
    fn from(key: ApiKey) -> i16 {
        key as i16
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
