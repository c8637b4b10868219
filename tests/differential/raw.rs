//! Bytes that no client would send: unknown APIs and versions, bodies cut short, counts that lie.

use crate::Case;
use crate::peer::Peer;

/// The frame as it is, length and all.
fn frame(p: &mut Peer, bytes: &[u8]) {
    let answered = p.raw(bytes).is_some();
    p.log(if answered { "answered" } else { "closed" });
}

pub const CASES: &[Case] = &[
    ("raw: an api nobody knows", |p| p.body(999, 0, &[])),
    ("raw: a negative api", |p| p.body(-1, 0, &[])),
    ("raw: an api that is gone", |p| p.body(4, 0, &[0; 20])),
    ("raw: a version to come", |p| p.body(3, 99, &[0; 20])),
    ("raw: a negative version", |p| p.body(3, -1, &[0; 20])),
    ("raw: produce in a version to come", |p| p.body(0, 99, &[0; 20])),
    ("raw: produce in version 0", |p| p.body(0, 0, &[0, 1, 0, 0, 3, 232, 0, 0, 0, 0])),
    ("raw: fetch in a version that is gone", |p| p.body(1, 0, &[0; 20])),
    ("raw: api versions in a version to come", |p| p.body(18, 99, &[0; 3])),
    ("raw: api versions in a negative version", |p| p.body(18, -1, &[])),
    ("raw: metadata cut short", |p| p.body(3, 4, &[0, 0])),
    ("raw: metadata with too large a count", |p| p.body(3, 4, &[0x7f, 0xff, 0xff, 0xff, 1])),
    ("raw: metadata with a count below null", |p| p.body(3, 4, &[0xff, 0xff, 0xff, 0xfe, 1])),
    ("raw: a string longer than the request", |p| p.body(3, 4, &[0, 0, 0, 1, 0x7f, 0xff, b'a'])),
    ("raw: a null string where none may be", |p| p.body(3, 4, &[0, 0, 0, 1, 0xff, 0xff, 1])),
    ("raw: a string that is not UTF-8", |p| p.body(3, 4, &[0, 0, 0, 1, 0, 2, 0xc3, 0x28, 0])),
    ("raw: bytes after the request", |p| p.body(3, 4, &[0, 0, 0, 0, 0, 7, 7, 7])),
    ("raw: a tag nobody knows", |p| p.body(18, 3, &[2, b'o', 2, b'1', 1, 99, 2, 5, 5])),
    ("raw: a tag longer than the request", |p| p.body(18, 3, &[2, b'o', 2, b'1', 1, 99, 120, 5])),
    ("raw: tags out of order", |p| p.body(18, 3, &[2, b'o', 2, b'1', 2, 99, 1, 5, 98, 1, 5])),
    ("raw: a varint without end", |p| p.body(18, 3, &[0xff; 12])),
    ("raw: delete groups with a null list", |p| p.body(42, 0, &[0xff, 0xff, 0xff, 0xff])),
    ("raw: describe groups with a null list", |p| p.body(15, 0, &[0xff, 0xff, 0xff, 0xff])),
    ("raw: create topics with a null list", |p| p.body(19, 2, &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0])),
    ("raw: fetch with a null list", |p| {
        p.body(1, 4, &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff]);
    }),
    ("raw: a frame of no length", |p| frame(p, &[0, 0, 0, 0])),
    ("raw: a frame of negative length", |p| frame(p, &[0xff, 0xff, 0xff, 0xff])),
    ("raw: a frame of great length", |p| frame(p, &[0x7f, 0xff, 0xff, 0xff])),
    ("raw: a frame shorter than a header", |p| frame(p, &[0, 0, 0, 3, 0, 3, 0])),
    ("raw: a page asked of a broker", |p| frame(p, b"GET / HTTP/1.1\r\n\r\n")),
    ("raw: sasl where none is", |p| p.body(17, 1, &[0, 5, b'P', b'L', b'A', b'I', b'N'])),
    ("raw: sasl authenticate where none is", |p| p.body(36, 1, &[0, 0, 0, 2, 1, 1])),
    ("raw: a request between brokers", |p| p.body(56, 0, &[0; 40])),
    ("raw: a vote", |p| p.body(52, 0, &[0; 40])),
    ("raw: an envelope", |p| p.body(58, 0, &[0; 40])),
];
