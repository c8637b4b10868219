//! Random ids.

use causeway_wire::Uuid;

/// A random id as Kafka makes them: version 4, and never one that begins with a dash (it would look like an option).
pub fn random_uuid() -> Uuid {
    loop {
        let id = version_four();
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
}

/// A random id in the hyphenated form that member ids end with.
pub fn random_uuid_text() -> String {
    let hex: String = version_four().0.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn version_four() -> Uuid {
    let mut raw = fastrand::u128(..).to_be_bytes();
    raw[6] = raw[6] & 0x0f | 0x40;
    raw[8] = raw[8] & 0x3f | 0x80;
    Uuid(raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_their_forms() {
        assert_eq!(random_uuid().to_string().len(), 22);
        let text = random_uuid_text();
        assert_eq!(text.len(), 36);
        assert_eq!(text.as_bytes()[14], b'4');
        assert_ne!(random_uuid(), random_uuid());
    }
}
