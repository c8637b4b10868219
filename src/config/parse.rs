//! Texts to values: durations, times, addresses, labels.

use std::time::Duration;

use super::valid::HostPort;

/// Aliases and flow names stay short enough for `__causeway.progress.<flow>` and `<alias>.<topic>` (Kafka allows 249).
const LABEL_BYTES_MAX: usize = 64;

/// The longest duration that means anything here: ten years.
const DURATION_MAX: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

/// Reads `500ms`, `5s`, `3m`, `2h`, `7d` or several of them in a row (`1m30s`).
///
/// # Errors
/// What is wrong with the text.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration: write 500ms, 5s, 3m, 2h or 7d");
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u32 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = match rest[..letters].trim() {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            "d" => Duration::from_secs(86400),
            _ => return Err(wrong()),
        };
        total = unit.checked_mul(number).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        rest = &rest[letters..];
    }
    if total > DURATION_MAX { Err(format!("`{text}` is longer than ten years")) } else { Ok(total) }
}

/// Reads an RFC 3339 time with its offset, or milliseconds since 1970, as milliseconds since 1970.
///
/// # Errors
/// What is wrong with the text.
pub fn timestamp(text: &str) -> Result<i64, String> {
    let wrong =
        |why: &str| format!("`{text}` is not a time: {why}; write 2026-01-31T08:00:00Z or milliseconds since 1970");
    if let Ok(millis) = text.parse::<i64>() {
        return if millis >= 0 { Ok(millis) } else { Err(wrong("it lies before 1970")) };
    }
    let parsed: toml_edit::Datetime = text.parse().map_err(|_| wrong("it is neither a date nor a number"))?;
    let (Some(date), Some(time)) = (parsed.date, parsed.time) else {
        return Err(wrong("date and time of day are both needed"));
    };
    let offset_minutes = match parsed.offset {
        Some(toml_edit::Offset::Z) => 0,
        Some(toml_edit::Offset::Custom { minutes }) => i64::from(minutes),
        None => return Err(wrong("without Z or an offset it means a different time everywhere")),
    };
    let days = days_since_1970(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let seconds = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second.unwrap_or(0));
    let millis = i64::from(time.nanosecond.unwrap_or(0) / 1_000_000);
    let total = (days * 86400 + seconds - offset_minutes * 60) * 1000 + millis;
    if total >= 0 { Ok(total) } else { Err(wrong("it lies before 1970")) }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar: 365 a year and the leap days before it, with years taken to begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 153 days in every five months from March on; 719,468 days from 0000-03-01 to 1970-01-01.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// Reads `host:port`, also `[::1]:9092`.
///
/// # Errors
/// What is wrong with the text.
pub fn host_port(text: &str) -> Result<HostPort, String> {
    let wrong = |why: &str| format!("`{text}` is not HOST:PORT: {why}");
    if text.contains("://") {
        return Err(wrong("leave out the protocol"));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(|| wrong("the port is missing (Kafka's usual one is 9092)"))?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if bare.is_none() && host.contains(':') {
        return Err(wrong("an IPv6 address stands in brackets"));
    }
    let host = bare.unwrap_or(host);
    let legal = |c: char| c.is_alphanumeric() || "-._".contains(c) || (bare.is_some() && c == ':');
    if host.is_empty() || !host.chars().all(legal) {
        return Err(wrong("the host is missing or has a character that no host has"));
    }
    match port.parse::<u16>() {
        Ok(0) => Err(wrong("port 0 is not a port one can connect to")),
        Ok(port) => Ok(HostPort { host: host.to_owned(), port }),
        Err(_) => Err(wrong("the port is a number up to 65535")),
    }
}

/// Checks an alias or a flow name.
///
/// # Errors
/// What is wrong with the text.
pub fn label(text: &str) -> Result<&str, String> {
    let legal = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if text.is_empty() || text.len() > LABEL_BYTES_MAX || !legal || text.starts_with('-') || text.ends_with('-') {
        let rule = "lower-case letters, digits and dashes inside, at most 64";
        return Err(format!(
            "`{text}` cannot be used as a name: {rule} (it becomes part of topic names, metric labels and variables)"
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86400)));
        for bad in ["", "5", "s", "5 parsecs", "-5s", "1.5s", "99999999999s", "4000000d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_absolute() {
        assert_eq!(timestamp("1970-01-01T00:00:00Z"), Ok(0));
        assert_eq!(timestamp("2000-03-01T00:00:00Z"), Ok(951_868_800_000));
        assert_eq!(timestamp("2024-02-29T12:34:56.789+02:00"), Ok(1_709_202_896_789));
        assert_eq!(timestamp("1700000000000"), Ok(1_700_000_000_000));
        for bad in ["yesterday", "2024-02-29", "2024-02-29T12:00:00", "1969-12-31T23:59:59Z", "-1"] {
            assert!(timestamp(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        assert_eq!(host_port("east-1:9092").unwrap().to_string(), "east-1:9092");
        assert_eq!(host_port("[::1]:9092").unwrap().to_string(), "[::1]:9092");
        for bad in ["east", "east:", ":9092", "east:0", "east:99999", "http://east:9092", "::1:9092", "ea st:1"] {
            let message = host_port(bad).unwrap_err();
            assert!(message.contains(bad), "{message}");
        }
    }

    #[test]
    fn labels_are_safe_in_topic_names_and_variables() {
        assert_eq!(label("us-east-1"), Ok("us-east-1"));
        for bad in ["", "East", "a_b", "a.b", "-a", "a-", &"a".repeat(65)] {
            assert!(label(bad).is_err(), "{bad}");
        }
    }
}
