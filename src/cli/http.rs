//! Asking a running daemon over its admin endpoint.

use std::time::Duration;

use anyhow::Context as _;
use serde::de::DeserializeOwned;

/// An answer from this machine takes milliseconds; a daemon that needs longer is treated as gone.
const TIMEOUT: Duration = Duration::from_secs(5);

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).build().into()
}

/// Reads `path` of the daemon at `admin`.
///
/// # Errors
/// No daemon there, a refusal (with its words), or an answer of another shape.
pub fn get<T: DeserializeOwned>(admin: &str, path: &str) -> anyhow::Result<T> {
    let url = format!("{}{path}", admin.trim_end_matches('/'));
    let answer = agent().get(&url).call().with_context(|| format!("no daemon answers at {admin}"))?;
    read(answer, &url)
}

/// Sends `body` to `path` of the daemon at `admin`.
///
/// # Errors
/// As [`get`].
pub fn post<T: DeserializeOwned>(admin: &str, path: &str, body: &impl serde::Serialize) -> anyhow::Result<T> {
    let url = format!("{}{path}", admin.trim_end_matches('/'));
    let answer = agent().post(&url).send_json(body).with_context(|| format!("no daemon answers at {admin}"))?;
    read(answer, &url)
}

fn read<T: DeserializeOwned>(mut answer: ureq::http::Response<ureq::Body>, url: &str) -> anyhow::Result<T> {
    let status = answer.status();
    if !status.is_success() {
        let words = answer.body_mut().read_to_string().unwrap_or_default();
        anyhow::bail!("{url}: {status}: {}", words.trim());
    }
    answer.body_mut().read_json().with_context(|| format!("{url} does not answer as this version expects"))
}
