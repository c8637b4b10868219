//! What can go wrong between values and bytes.

/// Bytes that are not the message they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The buffer ended inside a value.
    #[error("message ends early: wanted {wanted} bytes, {left} left")]
    Truncated {
        /// Bytes that the value needs.
        wanted: usize,
        /// Bytes there were.
        left: usize,
    },
    /// A length that cannot be: negative, or a string beyond 32767 bytes.
    #[error("impossible length {length}")]
    Length {
        /// The length as read.
        length: i64,
    },
    /// An array that claims more elements than the rest of the message can hold.
    #[error("array claims {count} elements with {left} bytes left")]
    Count {
        /// Claimed elements.
        count: usize,
        /// Bytes left in the message.
        left: usize,
    },
    /// Null where the version does not allow it.
    #[error("{field} is null")]
    Null {
        /// Struct and field.
        field: &'static str,
    },
    /// A string that is not UTF-8.
    #[error("string is not UTF-8")]
    Utf8,
    /// A varint of more bits than its type.
    #[error("varint too long")]
    Varint,
    /// A tagged field that does not fill its declared size.
    #[error("tagged field {tag} does not fill its size")]
    TagSize {
        /// Its tag.
        tag: u32,
    },
    /// More unknown tagged fields in one struct than [`crate::codec::UNKNOWN_TAGS_MAX`].
    #[error("too many unknown tagged fields")]
    TooManyTags,
    /// A version that this crate does not decode.
    #[error("{message} has no version {version}")]
    Version {
        /// The message.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
}

/// Values that the chosen version cannot carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A version that this crate does not encode.
    #[error("{message} has no version {version}")]
    Version {
        /// The message.
        message: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field that the version lacks is set, and dropping it would change the meaning.
    #[error("{field} cannot be sent in version {version}")]
    Field {
        /// Struct and field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// Null where the version does not allow it.
    #[error("{field} cannot be null in version {version}")]
    Null {
        /// Struct and field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A string, array or byte field beyond what its length can count.
    #[error("value of length {length} is too long for the protocol")]
    TooLong {
        /// Its bytes or elements.
        length: usize,
    },
}
