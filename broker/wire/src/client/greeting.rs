//! The first words on a connection: what the peer speaks, and which cluster it belongs to.

use super::connection::{Connection, Offered};
use super::{ClientConfig, ClientError};
use crate::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use crate::messages::metadata::MetadataRequest;
use crate::{ApiKey, ErrorCode, Message};
use bytes::Bytes;

/// Name and version that brokers put in their metrics (KIP-511).
const SOFTWARE_NAME: &str = "causeway";

/// Connects, negotiates, and checks the peer's cluster ID against `expected`. Answers the connection and the cluster ID.
pub(super) async fn connect(
    address: &str,
    config: &ClientConfig,
    expected: Option<&str>,
) -> Result<(Connection, Option<String>), ClientError> {
    let mut connection = Connection::open(address, config).await?;
    connection.offered = negotiate(&connection, config).await?;
    let cluster_id = cluster_id(&connection, config).await?;
    match expected {
        Some(expected) if cluster_id.as_deref() != Some(expected) => Err(ClientError::WrongCluster {
            address: address.to_owned(),
            expected: expected.to_owned(),
            found: cluster_id.unwrap_or_else(|| "none".to_owned()),
        }),
        _ => Ok((connection, cluster_id)),
    }
}

/// Asks for the version ranges: in our highest version first, then in the highest that the refusal names, which always comes in version 0.
async fn negotiate(connection: &Connection, config: &ClientConfig) -> Result<Offered, ClientError> {
    let highest = *ApiKey::ApiVersions.versions().end();
    let (code, first) = ask(connection, config, highest).await?;
    if code != ErrorCode::UNSUPPORTED_VERSION {
        return accept(connection, code, first);
    }
    let theirs = ranges(&first).get(&i16::from(ApiKey::ApiVersions)).map_or(0, |(_, high)| (*high).clamp(0, highest));
    let (code, second) = ask(connection, config, theirs).await?;
    accept(connection, code, second)
}

fn accept(connection: &Connection, code: ErrorCode, answer: ApiVersionsResponse) -> Result<Offered, ClientError> {
    if !code.is_ok() {
        let subject = connection.address.clone();
        return Err(ClientError::Broker { api: ApiKey::ApiVersions, code, subject, message: None });
    }
    Ok(ranges(&answer))
}

async fn ask(
    connection: &Connection,
    config: &ClientConfig,
    version: i16,
) -> Result<(ErrorCode, ApiVersionsResponse), ClientError> {
    let request = ApiVersionsRequest {
        client_software_name: SOFTWARE_NAME.to_owned(),
        client_software_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let stranger = |detail: String| ClientError::NotKafka { address: connection.address.clone(), detail };
    let body = connection.call_raw(version, &request, config.connect_timeout).await.map_err(|error| match error {
        ClientError::Disconnected { cause, .. } => {
            stranger(format!("{cause} on the first request (is this a TLS port?)"))
        }
        ClientError::TooLarge { size, .. } => stranger(format!("its first words announce {size} bytes")),
        ClientError::Decode { source, .. } => stranger(format!("its first words cannot be read: {source}")),
        other => other,
    })?;
    let unread =
        |error: crate::DecodeError| connection.kill(stranger(format!("its first words cannot be read: {error}")));
    let code = body.first_chunk::<2>().map(|code| ErrorCode(i16::from_be_bytes(*code)));
    let version = if code == Some(ErrorCode::UNSUPPORTED_VERSION) { 0 } else { version };
    let answer = ApiVersionsResponse::decode(version, &mut Bytes::clone(&body)).map_err(unread)?;
    Ok((ErrorCode(answer.error_code), answer))
}

fn ranges(answer: &ApiVersionsResponse) -> Offered {
    answer.api_keys.iter().map(|api| (api.api_key, (api.min_version, api.max_version))).collect()
}

async fn cluster_id(connection: &Connection, config: &ClientConfig) -> Result<Option<String>, ClientError> {
    let version = connection.version::<MetadataRequest>(i16::MAX)?;
    // No topics: an empty list from version 1 on; version 0 reads that as all topics, and carries no cluster ID anyway.
    if version < 2 {
        return Ok(None);
    }
    let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    Ok(connection.call(version, &request, config.connect_timeout).await?.cluster_id)
}
