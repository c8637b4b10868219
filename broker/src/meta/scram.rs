//! The controller's rules for SCRAM users (KIP-554). What a client sends is the salted password; what is kept cannot be used
//! to log in (RFC 5802, section 3). Pure.

use std::collections::BTreeMap;

use causeway_wire::ErrorCode;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256, Sha512};

use super::MetaRecord;
use super::clients::{Clients, ScramCredential};
use super::controller::{Refusal, refuse};

/// Rounds that Kafka accepts, for both mechanisms.
const ITERATIONS: std::ops::RangeInclusive<i32> = 4_096..=16_384;
/// Longest salt kept, in bytes; Kafka's clients make about 25.
const SALT_BYTES_MAX: usize = 1_024;
/// SCRAM-SHA-256 and SCRAM-SHA-512.
const MECHANISMS: std::ops::RangeInclusive<i8> = 1..=2;

/// One change of a user.
#[derive(Debug, Clone)]
pub enum Change {
    /// Takes a credential back.
    Delete {
        /// Of which mechanism.
        mechanism: i8,
    },
    /// Sets one.
    Upsert {
        /// Of which mechanism.
        mechanism: i8,
        /// Rounds of PBKDF2.
        iterations: i32,
        /// Salt.
        salt: Vec<u8>,
        /// Salted password.
        salted_password: Vec<u8>,
    },
}

/// Records for all changes, and an outcome for each user named, by name.
pub fn alter(
    clients: &Clients,
    changes: &[(String, Change)],
) -> (Vec<MetaRecord>, BTreeMap<String, Result<(), Refusal>>) {
    let mut decided: BTreeMap<&str, Result<MetaRecord, Refusal>> = BTreeMap::new();
    for (user, change) in changes {
        let outcome = match decided.get(user.as_str()) {
            // The first refusal is the one that is told.
            Some(Err(_)) => continue,
            Some(Ok(_)) => {
                let why = "A user credential cannot be altered twice in the same request";
                Err(refuse(ErrorCode::DUPLICATE_RESOURCE, why))
            }
            None => decide(clients, user, change),
        };
        decided.insert(user, outcome);
    }
    let (mut records, mut outcomes) = (Vec::new(), BTreeMap::new());
    for (user, outcome) in decided {
        outcomes.insert(user.to_owned(), outcome.map(|record| records.push(record)));
    }
    (records, outcomes)
}

fn decide(clients: &Clients, user: &str, change: &Change) -> Result<MetaRecord, Refusal> {
    let (Change::Delete { mechanism } | Change::Upsert { mechanism, .. }) = change;
    let mechanism = *mechanism;
    if user.is_empty() {
        return Err(refuse(ErrorCode::UNACCEPTABLE_CREDENTIAL, "Username must not be empty"));
    }
    if !MECHANISMS.contains(&mechanism) {
        return Err(refuse(ErrorCode::UNSUPPORTED_SASL_MECHANISM, "Unknown SCRAM mechanism"));
    }
    let credential = match change {
        Change::Delete { .. } => {
            if !clients.scram.contains_key(&(user.to_owned(), mechanism)) {
                let why = "Attempt to delete a user credential that does not exist";
                return Err(refuse(ErrorCode::RESOURCE_NOT_FOUND, why));
            }
            None
        }
        Change::Upsert { iterations, salt, salted_password, .. } => {
            let unacceptable = |why: &str| Err(refuse(ErrorCode::UNACCEPTABLE_CREDENTIAL, why));
            if iterations < ITERATIONS.start() {
                return unacceptable("Too few iterations");
            }
            if iterations > ITERATIONS.end() {
                return unacceptable("Too many iterations");
            }
            if salt.len() > SALT_BYTES_MAX {
                return unacceptable("The salt is too long");
            }
            Some(credential(mechanism, *iterations, salt, salted_password))
        }
    };
    Ok(MetaRecord::ScramUser { user: user.to_owned(), mechanism, credential })
}

/// What is kept of a salted password.
fn credential(mechanism: i8, iterations: i32, salt: &[u8], salted: &[u8]) -> ScramCredential {
    let (stored_key, server_key) = match mechanism {
        1 => {
            let mac = |text: &[u8]| keyed::<Hmac<Sha256>>(salted, text);
            (Sha256::digest(mac(b"Client Key")).to_vec(), mac(b"Server Key"))
        }
        _ => {
            let mac = |text: &[u8]| keyed::<Hmac<Sha512>>(salted, text);
            (Sha512::digest(mac(b"Client Key")).to_vec(), mac(b"Server Key"))
        }
    };
    ScramCredential { iterations, salt: hex(salt), stored_key: hex(&stored_key), server_key: hex(&server_key) }
}

fn keyed<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upsert(mechanism: i8, iterations: i32) -> Change {
        Change::Upsert { mechanism, iterations, salt: b"salt".to_vec(), salted_password: b"salted".to_vec() }
    }

    fn code(clients: &Clients, user: &str, change: Change) -> i16 {
        let (_, outcomes) = alter(clients, &[(user.to_owned(), change)]);
        outcomes[user].clone().map_or_else(|r| r.code.0, |()| 0)
    }

    #[test]
    fn what_kafka_refuses_is_refused_with_its_code() {
        let none = Clients::default();
        assert_eq!(code(&none, "", upsert(1, 4096)), ErrorCode::UNACCEPTABLE_CREDENTIAL.0);
        assert_eq!(code(&none, "u", upsert(3, 4096)), ErrorCode::UNSUPPORTED_SASL_MECHANISM.0);
        assert_eq!(code(&none, "u", upsert(1, 4095)), ErrorCode::UNACCEPTABLE_CREDENTIAL.0);
        assert_eq!(code(&none, "u", upsert(2, 16_385)), ErrorCode::UNACCEPTABLE_CREDENTIAL.0);
        assert_eq!(code(&none, "u", Change::Delete { mechanism: 1 }), ErrorCode::RESOURCE_NOT_FOUND.0);
        assert_eq!(code(&none, "u", upsert(2, 16_384)), 0);
        let both = [("u".to_owned(), upsert(1, 4096)), ("u".to_owned(), upsert(2, 4096))];
        let (records, outcomes) = alter(&none, &both);
        assert!(records.is_empty());
        assert_eq!(outcomes["u"].clone().unwrap_err().code, ErrorCode::DUPLICATE_RESOURCE);
    }

    /// The keys of RFC 7677, section 3: user "user", password "pencil".
    #[test]
    fn stored_and_server_keys_are_those_of_the_rfc() {
        let salted = "c4a49510323ab4f952cac1fa99441939e78ea74d6be81ddf7096e87513dc615d";
        let salted: Vec<u8> =
            (0..salted.len()).step_by(2).map(|i| u8::from_str_radix(&salted[i..i + 2], 16).unwrap()).collect();
        let made = credential(1, 4096, b"", &salted);
        assert_eq!(made.stored_key, "586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6");
        // This one signs the RFC's exchange with 6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=.
        assert_eq!(made.server_key, "c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5");
        assert_eq!(credential(2, 4096, b"", &salted).stored_key.len(), 128);
    }
}
