use super::*;

fn identity() -> Identity {
    let uid = Uid { run: 7, producer: 3, partition: 2, seq: 41 };
    Identity { uid, origin: "east".into(), topic: "orders".into(), send_ms: 1_700_000_000_123 }
}

fn shapes() -> Vec<Shape> {
    let keys = [KeyShape::Null, KeyShape::Unique, KeyShape::Pool(4)];
    let values = [ValueShape::Null, ValueShape::Empty, ValueShape::Sized(5), ValueShape::Sized(700)];
    let mut all = Vec::new();
    for key in keys {
        for value in values {
            all.extend([false, true].map(|odd_headers| Shape { key, value, odd_headers }));
        }
    }
    all
}

fn check(out: &Outgoing, timestamp_ms: i64) -> Result<Identity, Damage> {
    let headers: Vec<HeaderRef<'_>> = out.headers.iter().map(|(k, v)| (k.as_bytes(), v.as_deref())).collect();
    verify(&Incoming { key: out.key.as_deref(), value: out.value.as_deref(), headers: &headers, timestamp_ms })
}

#[test]
fn every_shape_is_known_again() {
    for shape in shapes() {
        let out = encode(&identity(), shape);
        assert_eq!(check(&out, identity().send_ms), Ok(identity()), "{shape:?}");
        if let ValueShape::Sized(size) = shape.value {
            assert_eq!(out.value.as_ref().map(Vec::len), Some(size));
        }
    }
}

#[test]
fn any_flipped_bit_is_found() {
    let out = encode(&identity(), Shape { key: KeyShape::Unique, value: ValueShape::Sized(200), odd_headers: true });
    let send_ms = identity().send_ms;
    for at in 0..200 {
        let mut bad = out.clone();
        bad.value.as_mut().unwrap()[at] ^= 1 << (at % 8);
        assert!(check(&bad, send_ms).is_err(), "value byte {at}");
    }
    for header in 0..out.headers.len() {
        for at in 0..out.headers[header].1.as_ref().map_or(0, Vec::len) {
            let mut bad = out.clone();
            bad.headers[header].1.as_mut().unwrap()[at] ^= 1;
            assert!(check(&bad, send_ms).is_err(), "header {header} byte {at}");
        }
    }
    let mut bad = out.clone();
    bad.key.as_mut().unwrap()[0] ^= 1;
    assert_eq!(check(&bad, send_ms).unwrap_err().what, "key differs");
    assert_eq!(check(&out, send_ms + 1).unwrap_err().what, "timestamp differs");
}

#[test]
fn null_and_empty_are_not_the_same() {
    let out = encode(&identity(), Shape { key: KeyShape::Null, value: ValueShape::Empty, odd_headers: true });
    let mut bad = out.clone();
    bad.value = None;
    assert_eq!(check(&bad, identity().send_ms).unwrap_err().what, "value differs");
    let mut bad = out.clone();
    bad.key = Some(Vec::new());
    assert_eq!(check(&bad, identity().send_ms).unwrap_err().what, "key differs");
    let mut bad = out;
    bad.headers[2].1 = Some(Vec::new());
    assert_eq!(check(&bad, identity().send_ms).unwrap_err().what, "headers differ");
}

#[test]
fn headers_of_the_mirror_are_not_the_applications() {
    let out = encode(&identity(), Shape { key: KeyShape::Null, value: ValueShape::Null, odd_headers: true });
    let mut refs: Vec<HeaderRef<'_>> = out.headers.iter().map(|(k, v)| (k.as_bytes(), v.as_deref())).collect();
    let plain = Incoming { key: None, value: None, headers: &refs.clone(), timestamp_ms: identity().send_ms };
    let before = digest(&plain);
    refs.push((b"causeway-origin", Some(b"x")));
    let marked = Incoming { headers: &refs, ..plain };
    assert_eq!(verify(&marked), Ok(identity()));
    assert_eq!(digest(&marked), before);
    refs.push((b"other", Some(b"x")));
    assert_eq!(verify(&Incoming { headers: &refs, ..plain }).unwrap_err().what, "headers differ");
}

#[test]
fn a_lost_or_doubled_identity_header_is_damage_that_still_names_the_record() {
    let mut out = encode(&identity(), Shape { key: KeyShape::Null, value: ValueShape::Sized(300), odd_headers: false });
    let id = out.headers.pop().unwrap();
    let lost = check(&out, identity().send_ms).unwrap_err();
    assert_eq!((lost.what, lost.identity), ("identity header missing", Some(identity())));
    out.headers = vec![id.clone(), id];
    assert_eq!(check(&out, identity().send_ms).unwrap_err().what, "identity header twice");
}
