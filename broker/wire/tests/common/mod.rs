//! Random messages, written straight from the descriptions: an encoder of its own, so that the generated one has something to be compared with.
#![allow(dead_code, clippy::unwrap_used, reason = "test helper; each test binary uses a part")]

#[path = "../../build/schema.rs"]
pub mod schema;

use schema::{Field, File, Kind, Message, Range, Struct, Type};
use std::fs;

/// All described messages, by name.
pub fn described() -> Vec<(String, Message)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/schema")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "api") {
            let File { name, kind } = schema::parse(&fs::read_to_string(path).unwrap()).unwrap();
            match kind {
                Kind::Api { request, response, .. } => {
                    found.push((format!("{name}Request"), request));
                    found.push((format!("{name}Response"), response));
                }
                Kind::Data { message } => found.push((name, message)),
            }
        }
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

/// Writes random values of a message.
pub struct Writer<'a> {
    pub message: &'a Message,
    pub version: i16,
    pub rng: fastrand::Rng,
}

impl Writer<'_> {
    pub fn write(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let outermost = self.message.structs[0].clone();
        self.structure(&mut out, &outermost, false);
        out
    }

    fn flexible(&self) -> bool {
        self.message.flexible.is_some_and(|from| self.version >= from)
    }

    fn here(&self, range: Option<Range>) -> bool {
        range.is_some_and(|range| range.contains(self.version))
    }

    /// `unlike_default`: at least one field differs from its default, as a tagged field that is present must.
    fn structure(&mut self, out: &mut Vec<u8>, item: &Struct, mut unlike_default: bool) {
        let version = self.version;
        for field in item.fields.iter().filter(|f| f.tag.is_none() && f.versions.contains(version)) {
            unlike_default &= !self.value(out, field, unlike_default);
        }
        if !self.flexible() {
            return;
        }
        let mut tagged: Vec<&Field> =
            item.fields.iter().filter(|f| f.tag.is_some() && self.here(Some(f.versions))).collect();
        tagged.sort_by_key(|f| f.tag);
        tagged.retain(|_| self.rng.bool());
        uvarint(out, tagged.len() as u32);
        for field in tagged {
            let mut value = Vec::new();
            self.value(&mut value, field, true);
            uvarint(out, field.tag.unwrap());
            uvarint(out, value.len() as u32);
            out.extend(value);
        }
    }

    /// Answers whether the value is known to differ from the default (asked for by `unlike`).
    fn value(&mut self, out: &mut Vec<u8>, field: &Field, unlike: bool) -> bool {
        let nullable = self.here(field.nullable);
        // Without a default of its own a nullable field defaults to null.
        let default_null = (field.nullable.is_some() || field.ty == Type::Records) && field.default.is_none();
        let null = nullable && if unlike { !default_null } else { self.rng.u8(0..4) == 0 };
        if null {
            match field.ty {
                // Kafka marks null by a varint in a tagged field, by a signed byte elsewhere.
                Type::Struct(_) => out.push(if field.tag.is_some() { 0 } else { 0xff }),
                Type::String if !self.flexible() => out.extend([0xff; 2]),
                _ if !self.flexible() => out.extend([0xff; 4]),
                _ => out.push(0),
            }
            return unlike;
        }
        if nullable && matches!(field.ty, Type::Struct(_)) {
            out.push(1);
        }
        self.plain(out, &field.ty, unlike && !(nullable && default_null));
        unlike
    }

    fn plain(&mut self, out: &mut Vec<u8>, ty: &Type, unlike: bool) {
        match ty {
            Type::Bool => out.push(u8::from(unlike || self.rng.bool())),
            Type::I8 => out.extend(self.number(unlike).to_be_bytes()[7..].iter()),
            Type::I16 | Type::U16 => out.extend(self.number(unlike).to_be_bytes()[6..].iter()),
            Type::I32 | Type::U32 => out.extend(self.number(unlike).to_be_bytes()[4..].iter()),
            Type::I64 => out.extend(self.number(unlike).to_be_bytes()),
            Type::F64 => out.extend((self.rng.i32(..) as f64 / 8.0).to_be_bytes()),
            Type::Uuid => out.extend(std::array::from_fn::<u8, 16, _>(|_| self.rng.u8(1..))),
            Type::String => {
                let text = self.text(unlike);
                if self.flexible() {
                    uvarint(out, text.len() as u32 + 1);
                } else {
                    out.extend((text.len() as u16).to_be_bytes());
                }
                out.extend(text.as_bytes());
            }
            Type::Bytes | Type::Records => {
                let len = self.rng.usize(usize::from(unlike)..200);
                self.count(out, len);
                out.extend((0..len).map(|_| self.rng.u8(..)).collect::<Vec<_>>());
            }
            Type::Struct(name) => {
                let item = self.message.structs.iter().find(|s| s.name == *name).unwrap().clone();
                self.structure(out, &item, unlike);
            }
            Type::Array(inner) => {
                let len = self.rng.usize(usize::from(unlike)..4);
                self.count(out, len);
                for _ in 0..len {
                    self.plain(out, inner, false);
                }
            }
        }
    }

    fn count(&self, out: &mut Vec<u8>, count: usize) {
        if self.flexible() {
            uvarint(out, count as u32 + 1);
        } else {
            out.extend((count as u32).to_be_bytes());
        }
    }

    /// No default in Kafka is 7, in any width of number.
    fn number(&mut self, unlike: bool) -> i64 {
        match self.rng.u8(0..6) {
            _ if unlike => 7,
            0 => 0,
            1 => -1,
            2 => i64::from(self.rng.i8(..)),
            3 => i64::MAX >> self.rng.u32(0..64),
            4 => i64::MIN >> self.rng.u32(0..64),
            _ => self.rng.i64(..),
        }
    }

    fn text(&mut self, unlike: bool) -> String {
        let len =
            if self.rng.u8(0..20) == 0 { self.rng.usize(100..300) } else { self.rng.usize(usize::from(unlike)..12) };
        (0..len).map(|_| if self.rng.u8(0..8) == 0 { self.rng.char(..) } else { self.rng.alphanumeric() }).collect()
    }
}

fn uvarint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes of a random message for (name, version, seed).
pub fn random(message: &Message, version: i16, seed: u64) -> Vec<u8> {
    Writer { message, version, rng: fastrand::Rng::with_seed(seed) }.write()
}

/// A number of rounds from the environment, or this many.
pub fn rounds(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable).ok().map_or(otherwise, |n| n.parse().expect("a number"))
}
