//! The controller's rules for client quotas: what may be set on whom (KIP-546), and what a filter finds. Pure.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use causeway_wire::ErrorCode;

use super::MetaRecord;
use super::clients::{Clients, Entity};
use super::controller::{Refusal, refuse};

/// Entity types.
pub const USER: &str = "user";
/// See [`USER`].
pub const CLIENT_ID: &str = "client-id";
/// See [`USER`].
pub const IP: &str = "ip";

/// Bytes a second that a producer may send.
pub const PRODUCER_BYTE_RATE: &str = "producer_byte_rate";
/// Bytes a second that a consumer may get.
pub const CONSUMER_BYTE_RATE: &str = "consumer_byte_rate";
/// Share of one thread's time, in per cent.
pub const REQUEST_PERCENTAGE: &str = "request_percentage";
/// Partitions made or deleted a second.
pub const CONTROLLER_MUTATION_RATE: &str = "controller_mutation_rate";
/// Connections a second from one address.
pub const CONNECTION_CREATION_RATE: &str = "connection_creation_rate";

/// Entities with quotas that metadata holds at most: each is looked through when quotas change.
const ENTITIES_MAX: usize = 10_000;

/// One quota to change; no value takes it back.
#[derive(Debug, Clone)]
pub struct QuotaOp {
    /// Name of the quota.
    pub key: String,
    /// New value.
    pub value: Option<f64>,
}

/// Whether a quota of that name takes whole numbers, if there is one for the entity.
fn integral(entity: &Entity, key: &str) -> Option<bool> {
    match (entity.contains_key(IP), key) {
        (true, CONNECTION_CREATION_RATE) => Some(true),
        (false, PRODUCER_BYTE_RATE | CONSUMER_BYTE_RATE) => Some(true),
        (false, REQUEST_PERCENTAGE | CONTROLLER_MUTATION_RATE) => Some(false),
        _ => None,
    }
}

/// Puts an entity together from its parts.
pub fn entity(parts: impl Iterator<Item = (String, Option<String>)>) -> Result<Entity, Refusal> {
    let bad = |why: String| Err(refuse(ErrorCode::INVALID_REQUEST, why));
    let mut entity = Entity::new();
    for (kind, name) in parts {
        if ![USER, CLIENT_ID, IP].contains(&kind.as_str()) {
            return bad(format!("Unhandled client quota entity type: {kind}"));
        }
        if name.as_deref() == Some("") {
            return bad(format!("Empty {kind} not supported"));
        }
        if entity.contains_key(&kind) {
            return bad(format!("Invalid client quota entity, duplicate entity entry {kind}"));
        }
        entity.insert(kind, name);
    }
    if entity.is_empty() {
        return bad("Invalid empty client quota entity".into());
    }
    if let Some(ip) = entity.get(IP) {
        if entity.len() > 1 {
            return bad(
                "Invalid quota entity combination, IP entity should not be combined with User or ClientId".into()
            );
        }
        if let Some(ip) = ip.as_ref().filter(|ip| ip.parse::<IpAddr>().is_err()) {
            return bad(format!("{ip} is not a valid IP or resolvable host."));
        }
    }
    Ok(entity)
}

/// Records that change an entity's quotas, or why they stay.
pub fn alter(clients: &Clients, entity: &Entity, ops: &[QuotaOp]) -> Result<Vec<MetaRecord>, Refusal> {
    let bad = |why: String| Err(refuse(ErrorCode::INVALID_REQUEST, why));
    if !clients.quotas.contains_key(entity) && clients.quotas.len() >= ENTITIES_MAX {
        return Err(refuse(ErrorCode::POLICY_VIOLATION, format!("Quotas are set for {ENTITIES_MAX} entities already")));
    }
    let now = clients.quotas.get(entity);
    let mut records = BTreeMap::new();
    for op in ops {
        let current = now.and_then(|quotas| quotas.get(&op.key)).copied();
        if let Some(value) = op.value {
            let Some(integral) = integral(entity, &op.key) else {
                return bad(format!("Invalid configuration key {}", op.key));
            };
            // Not a number fails this too.
            if !(value > 0.0 && value.is_finite()) {
                return bad(format!("Quota {} must be greater than 0", op.key));
            }
            if integral && value > i64::MAX as f64 {
                return bad(format!("Proposed value for {} is too large for a LONG.", op.key));
            }
            if integral && (value % 1.0).abs() > 1e-6 {
                return bad(format!("{} cannot be a fractional value.", op.key));
            }
        }
        let record = (op.value != current).then(|| MetaRecord::ClientQuota {
            entity: entity.clone(),
            key: op.key.clone(),
            value: op.value.map(|v| v.to_string()),
        });
        if records.insert(op.key.as_str(), record).is_some() {
            return bad(format!("Duplicate quota key {} not updating quota for this entity", op.key));
        }
    }
    Ok(records.into_values().flatten().collect())
}

/// How a filter looks at one entity type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Match {
    /// This name.
    Exact(String),
    /// The default of the type.
    Default,
    /// Any that has the type.
    Any,
}

/// A filter from its parts: type, number of the kind of match, name.
pub fn filter(parts: impl Iterator<Item = (String, i8, Option<String>)>) -> Result<HashMap<String, Match>, Refusal> {
    let bad = |why: String| Err(refuse(ErrorCode::INVALID_REQUEST, why));
    let mut out = HashMap::new();
    for (kind, how, name) in parts {
        if kind.is_empty() {
            return bad("Invalid empty entity type.".into());
        }
        if ![USER, CLIENT_ID, IP].contains(&kind.as_str()) {
            return Err(refuse(ErrorCode::UNSUPPORTED_VERSION, format!("Unsupported entity type {kind}")));
        }
        let wanted = match (how, name) {
            (0, Some(name)) => Match::Exact(name),
            (0, None) => return bad("Request specified MATCH_TYPE_EXACT, but set match string to null.".into()),
            (1, None) => Match::Default,
            (2, None) => Match::Any,
            (1, Some(_)) => {
                return bad("Request specified MATCH_TYPE_DEFAULT, but also specified a match string.".into());
            }
            (2, Some(_)) => {
                return bad("Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.".into());
            }
            (other, _) => return bad(format!("Unknown match type {other}")),
        };
        if out.insert(kind.clone(), wanted).is_some() {
            return bad(format!("Entity type {kind} cannot appear more than once in the filter."));
        }
    }
    if out.contains_key(IP) && out.len() > 1 {
        return bad(
            "Invalid entity filter component combination. IP filter component should not be used with user or clientId \
             filter component."
                .into(),
        );
    }
    Ok(out)
}

/// Whether an entity is one that a filter asks for; `strict` refuses types that the filter does not name.
pub fn matches(entity: &Entity, filter: &HashMap<String, Match>, strict: bool) -> bool {
    if strict && entity.len() != filter.len() {
        return false;
    }
    filter.iter().all(|(kind, wanted)| match (entity.get(kind), wanted) {
        (Some(Some(name)), Match::Exact(exact)) => name == exact,
        (Some(None), Match::Default) | (Some(_), Match::Any) => true,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(parts: &[(&str, Option<&str>)]) -> Result<Entity, String> {
        let parts = parts.iter().map(|(k, n)| ((*k).to_owned(), n.map(str::to_owned)));
        entity(parts).map_err(|r| r.message)
    }

    #[test]
    fn entities_that_kafka_refuses_are_refused() {
        assert!(make(&[("user", Some("u")), ("client-id", None)]).is_ok());
        assert!(make(&[("ip", Some("127.0.0.1"))]).is_ok());
        for (parts, word) in [
            (vec![], "empty client quota entity"),
            (vec![("host", Some("x"))], "Unhandled"),
            (vec![("user", Some(""))], "Empty user"),
            (vec![("user", None), ("user", None)], "duplicate"),
            (vec![("ip", None), ("user", None)], "combination"),
            (vec![("ip", Some("not an address"))], "not a valid IP"),
        ] {
            assert!(make(&parts).unwrap_err().contains(word), "{parts:?}");
        }
    }

    #[test]
    fn values_that_kafka_refuses_are_refused() {
        let user = make(&[("user", Some("u"))]).unwrap();
        let try_set = |key: &str, value: f64| {
            let ops = [QuotaOp { key: key.into(), value: Some(value) }];
            alter(&Clients::default(), &user, &ops).map(|r| r.len()).map_err(|r| r.message)
        };
        assert_eq!(try_set(PRODUCER_BYTE_RATE, 1024.0), Ok(1));
        assert_eq!(try_set(REQUEST_PERCENTAGE, 0.5), Ok(1));
        assert!(try_set(PRODUCER_BYTE_RATE, 0.5).unwrap_err().contains("fractional"));
        assert!(try_set(PRODUCER_BYTE_RATE, 0.0).unwrap_err().contains("greater than 0"));
        assert!(try_set(REQUEST_PERCENTAGE, f64::NAN).unwrap_err().contains("greater than 0"));
        assert!(try_set(PRODUCER_BYTE_RATE, 1e30).unwrap_err().contains("too large"));
        assert!(try_set(CONNECTION_CREATION_RATE, 1.0).unwrap_err().contains("Invalid configuration key"));
        let twice = [QuotaOp { key: "a".into(), value: None }, QuotaOp { key: "a".into(), value: None }];
        assert!(alter(&Clients::default(), &user, &twice).unwrap_err().message.contains("Duplicate"));
    }

    #[test]
    fn only_changes_are_written() {
        let user = make(&[("user", Some("u"))]).unwrap();
        let mut clients = Clients::default();
        let op = |value| [QuotaOp { key: PRODUCER_BYTE_RATE.into(), value }];
        alter(&clients, &user, &op(Some(9.0))).unwrap().iter().for_each(|r| clients.apply(r));
        assert!(alter(&clients, &user, &op(Some(9.0))).unwrap().is_empty());
        assert_eq!(alter(&clients, &user, &op(None)).unwrap().len(), 1);
        assert!(alter(&Clients::default(), &user, &op(None)).unwrap().is_empty());
    }

    #[test]
    fn filters_find_exact_default_and_any() {
        let find = |parts: &[(&str, i8, Option<&str>)], strict: bool, entity: &Entity| {
            let parts = parts.iter().map(|(k, h, n)| ((*k).to_owned(), *h, n.map(str::to_owned)));
            matches(entity, &filter(parts).unwrap(), strict)
        };
        let both = make(&[("user", Some("u")), ("client-id", None)]).unwrap();
        assert!(find(&[("user", 0, Some("u"))], false, &both));
        assert!(!find(&[("user", 0, Some("u"))], true, &both));
        assert!(!find(&[("user", 0, Some("v"))], false, &both));
        assert!(find(&[("client-id", 1, None), ("user", 2, None)], true, &both));
        assert!(!find(&[("user", 1, None)], false, &both));
        assert!(find(&[], false, &both));
        let bad = |parts: &[(&str, i8, Option<&str>)]| {
            let parts = parts.iter().map(|(k, h, n)| ((*k).to_owned(), *h, n.map(str::to_owned)));
            filter(parts).unwrap_err().code
        };
        assert_eq!(bad(&[("host", 2, None)]), ErrorCode::UNSUPPORTED_VERSION);
        assert_eq!(bad(&[("user", 0, None)]), ErrorCode::INVALID_REQUEST);
        assert_eq!(bad(&[("user", 7, None)]), ErrorCode::INVALID_REQUEST);
        assert_eq!(bad(&[("user", 2, None), ("user", 2, None)]), ErrorCode::INVALID_REQUEST);
        assert_eq!(bad(&[("ip", 2, None), ("user", 2, None)]), ErrorCode::INVALID_REQUEST);
    }
}
