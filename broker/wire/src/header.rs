//! What stands before every request and response.

use crate::codec::{self, get_i16, get_i32};
use crate::{ApiKey, DecodeError, EncodeError};
use bytes::{BufMut, Bytes, BytesMut};

/// Header of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestHeader {
    /// Key of the API, known to us or not.
    pub api_key: i16,
    /// Version of the API.
    pub api_version: i16,
    /// Number that the answer repeats.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<String>,
}

impl RequestHeader {
    /// Appends the header in its `version`: 1, or 2 with tagged fields.
    ///
    /// # Errors
    /// A client ID beyond 32767 bytes.
    pub fn encode(&self, version: i16, buf: &mut BytesMut) -> Result<(), EncodeError> {
        buf.put_i16(self.api_key);
        buf.put_i16(self.api_version);
        buf.put_i32(self.correlation_id);
        // Never compact, in no version: a broker must read it before it knows the version (KIP-511).
        match &self.client_id {
            Some(id) => codec::put_string(buf, false, id)?,
            None => codec::put_null_string(buf, false),
        }
        if version >= 2 {
            buf.put_u8(0);
        }
        Ok(())
    }

    /// Takes a header off the front of a frame, its own version told from API key and version. For an API that this crate does not know, or a version
    /// beyond those it knows, the tagged section may stay in `buf`: such a request is refused unread.
    ///
    /// # Errors
    /// Bytes that are not a header.
    pub fn decode(buf: &mut Bytes) -> Result<Self, DecodeError> {
        let (api_key, api_version) = (get_i16(buf)?, get_i16(buf)?);
        let correlation_id = get_i32(buf)?;
        let client_id = codec::get_nullable_string(buf, false)?;
        if ApiKey::from_key(api_key).is_some_and(|key| key.request_header_version(api_version) >= 2) {
            codec::skip_tags(buf)?;
        }
        Ok(Self { api_key, api_version, correlation_id, client_id })
    }
}

/// Header of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ResponseHeader {
    /// Number of the request that this answers.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Appends the header in its `version`: 0, or 1 with tagged fields.
    pub fn encode(self, version: i16, buf: &mut BytesMut) {
        buf.put_i32(self.correlation_id);
        if version >= 1 {
            buf.put_u8(0);
        }
    }

    /// Takes a header of `version` off the front of a frame.
    ///
    /// # Errors
    /// Bytes that are not a header.
    pub fn decode(version: i16, buf: &mut Bytes) -> Result<Self, DecodeError> {
        let correlation_id = get_i32(buf)?;
        if version >= 1 {
            codec::skip_tags(buf)?;
        }
        Ok(Self { correlation_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_id_is_never_compact() {
        let header = RequestHeader { api_key: 3, api_version: 12, correlation_id: 7, client_id: Some("me".into()) };
        let mut buf = BytesMut::new();
        header.encode(2, &mut buf).unwrap();
        assert_eq!(buf.as_ref(), [0, 3, 0, 12, 0, 0, 0, 7, 0, 2, b'm', b'e', 0]);
        let mut bytes = buf.freeze();
        assert_eq!(RequestHeader::decode(&mut bytes).unwrap(), header);
        assert!(bytes.is_empty());
    }

    #[test]
    fn answer_to_api_versions_has_the_plain_header_in_every_version() {
        for version in ApiKey::ApiVersions.versions() {
            assert_eq!(ApiKey::ApiVersions.response_header_version(version), 0);
        }
        assert_eq!(ApiKey::ApiVersions.request_header_version(3), 2);
        assert_eq!(ApiKey::Metadata.response_header_version(9), 1);
    }
}
