//! The messages, one module per API, made from `schema/`.
#![allow(clippy::all, unused_imports, reason = "generated")]

use crate::{DecodeError, EncodeError, Message};
use bytes::{Bytes, BytesMut};
use std::ops::RangeInclusive;

include!(concat!(env!("OUT_DIR"), "/messages.rs"));

/// A message by its name: for tools and tests that treat all alike.
#[derive(Debug, Clone)]
pub struct AnyMessage {
    /// Kafka's name.
    pub name: &'static str,
    /// Versions that this crate encodes and decodes.
    pub versions: RangeInclusive<i16>,
    /// First version with compact types and tagged fields; `i16::MAX` where there is none.
    pub first_flexible: i16,
    /// Decodes, and encodes again in the same version.
    pub recode: fn(i16, &mut Bytes, &mut BytesMut) -> Result<(), RecodeError>,
    /// Decodes, and shows the value as `Debug` does.
    pub show: fn(i16, &mut Bytes) -> Result<String, DecodeError>,
}

/// Why [`AnyMessage::recode`] failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecodeError {
    /// The bytes are not this message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The value cannot be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl AnyMessage {
    const fn of<M: Message + std::fmt::Debug>() -> Self {
        Self {
            name: M::NAME,
            versions: M::VERSIONS,
            first_flexible: M::FIRST_FLEXIBLE,
            recode: |version, from, to| Ok(M::decode(version, from)?.encode(version, to)?),
            show: |version, from| M::decode(version, from).map(|value| format!("{value:?}")),
        }
    }
}
