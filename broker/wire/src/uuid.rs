//! Topic IDs, cluster IDs and their like.

use std::fmt;
use std::str::FromStr;

/// A 128-bit identifier, shown as Kafka shows it: base64url without padding (22 characters).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(
    /// Its bytes, most significant first.
    pub [u8; 16],
);

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Characters of 128 bits at 6 each.
const TEXT_LEN: usize = 22;

impl Uuid {
    /// All bits zero: no identifier (KIP-516).
    pub const ZERO: Uuid = Uuid([0; 16]);

    /// Whether this stands for no identifier.
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

impl From<u128> for Uuid {
    fn from(bits: u128) -> Self {
        Uuid(bits.to_be_bytes())
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = u128::from_be_bytes(self.0);
        let mut text = String::with_capacity(TEXT_LEN);
        for i in 0..TEXT_LEN {
            // The last character holds the low two bits, padded with four zeros.
            let six = if i == TEXT_LEN - 1 { bits << 4 } else { bits >> (122 - 6 * i) } & 0x3f;
            text.push(char::from(ALPHABET[six as usize]));
        }
        f.pad(&text)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a 22-character base64url identifier: {0:?}")]
pub struct UuidError(String);

impl FromStr for Uuid {
    type Err = UuidError;

    fn from_str(text: &str) -> Result<Self, UuidError> {
        let error = || UuidError(text.chars().take(64).collect());
        if text.len() != TEXT_LEN {
            return Err(error());
        }
        let mut bits = 0u128;
        for (i, c) in text.bytes().enumerate() {
            let six = ALPHABET.iter().position(|&a| a == c).ok_or_else(error)? as u128;
            if i == TEXT_LEN - 1 {
                if six & 0x0f != 0 {
                    return Err(error()); // bits beyond the 128th: not a form that Display writes
                }
                bits = bits << 2 | six >> 4;
            } else {
                bits = bits << 6 | six;
            }
        }
        Ok(Uuid(bits.to_be_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_texts_read_and_write() {
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(Uuid::from(1).to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(Uuid([0xff; 16]).to_string(), "_____________________w");
        let id: Uuid = "lkZ0_GpKQvCPrJcMrqNoZA".parse().unwrap();
        assert_eq!(id.to_string(), "lkZ0_GpKQvCPrJcMrqNoZA");
    }

    #[test]
    fn text_that_is_no_identifier_is_refused() {
        for text in
            ["", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAA+", "AAAAAAAAAAAAAAAAAAAAAB"]
        {
            assert!(text.parse::<Uuid>().is_err(), "{text}");
        }
    }
}
