//! Writes structs, defaults and the `ApiKey` enum.

use crate::emit_codec;
use crate::schema::{Field, File, Kind, Message, Range, Struct, Type};
use std::collections::BTreeSet;
use std::fmt::Write;

/// Appends a formatted line.
macro_rules! line {
    ($out:expr, $($arg:tt)*) => { writeln!($out, $($arg)*).expect("a String takes all") };
}
pub(crate) use line;

/// All message modules.
pub fn messages(files: &[File]) -> String {
    let mut out = String::new();
    for file in files {
        line!(out, "/// {}", module_doc(file));
        line!(out, "pub mod {} {{", snake(&file.name));
        line!(out, "use crate::codec;");
        line!(out, "use crate::{{DecodeError, EncodeError, Message, Uuid}};");
        line!(out, "use bytes::{{BufMut, Bytes, BytesMut}};");
        match &file.kind {
            Kind::Api { request, response, .. } => {
                let (mut request, mut response) = (request.clone(), response.clone());
                separate(&mut request, &mut response);
                message(&mut out, &request);
                message(&mut out, &response);
                line!(out, "impl crate::Request for {}Request {{", file.name);
                line!(out, "const KEY: crate::ApiKey = crate::ApiKey::{};", file.name);
                line!(out, "type Response = {}Response;", file.name);
                line!(out, "}}");
            }
            Kind::Data { message: data } => message(&mut out, data),
        }
        line!(out, "}}");
    }
    table(&mut out, files);
    sizes(&mut out, files);
    out
}

/// Table of all messages, for tools and tests that treat them alike.
fn table(out: &mut String, files: &[File]) {
    line!(out, "/// Every message of this crate.");
    line!(out, "pub static ALL: &[AnyMessage] = &[");
    for file in files {
        let module = snake(&file.name);
        match &file.kind {
            Kind::Api { .. } => {
                line!(out, "AnyMessage::of::<{module}::{}Request>(),", file.name);
                line!(out, "AnyMessage::of::<{module}::{}Response>(),", file.name);
            }
            Kind::Data { .. } => line!(out, "AnyMessage::of::<{module}::{}>(),", file.name),
        }
    }
    line!(out, "];");
}

fn module_doc(file: &File) -> String {
    match &file.kind {
        Kind::Api { key, request, .. } => format!("{} (key {key}), {}.", file.name, versions(request.versions)),
        Kind::Data { message } => format!("{}, {}.", file.name, versions(message.versions)),
    }
}

/// Gives structs that both sides of an API name alike a prefix each.
fn separate(request: &mut Message, response: &mut Message) {
    let names: BTreeSet<String> = request.structs.iter().map(|s| s.name.clone()).collect();
    let shared: BTreeSet<String> =
        response.structs.iter().map(|s| s.name.clone()).filter(|n| names.contains(n)).collect();
    for (message, prefix) in [(request, "Request"), (response, "Response")] {
        for inner in &mut message.structs {
            if shared.contains(&inner.name) {
                inner.name.insert_str(0, prefix);
            }
            for field in &mut inner.fields {
                rename(&mut field.ty, &shared, prefix);
            }
        }
    }
}

fn rename(ty: &mut Type, shared: &BTreeSet<String>, prefix: &str) {
    match ty {
        Type::Struct(name) if shared.contains(name) => name.insert_str(0, prefix),
        Type::Array(inner) => rename(inner, shared, prefix),
        _ => {}
    }
}

fn message(out: &mut String, message: &Message) {
    for (depth, item) in message.structs.iter().enumerate() {
        structure(out, message, item, depth == 0);
    }
    emit_codec::message_impl(out, message);
    for item in &message.structs {
        emit_codec::struct_impl(out, message, item);
    }
}

fn structure(out: &mut String, message: &Message, item: &Struct, outermost: bool) {
    let derived = item.fields.iter().all(|f| initial(f) == "Default::default()");
    if outermost {
        line!(out, "/// `{}`, {}.", item.name, versions(message.versions));
    } else {
        line!(out, "/// `{}` inside `{}`.", item.name, message.structs[0].name);
    }
    line!(out, "#[derive(Debug, Clone, PartialEq{})]", if derived { ", Default" } else { "" });
    line!(out, "pub struct {} {{", item.name);
    for field in &item.fields {
        line!(out, "/// {}", field_doc(message, field));
        line!(out, "pub {}: {},", ident(&field.name), rust_type(field));
    }
    line!(out, "}}");
    if !derived {
        line!(out, "impl Default for {} {{ fn default() -> Self {{ Self {{", item.name);
        for field in &item.fields {
            line!(out, "{}: {},", ident(&field.name), initial(field));
        }
        line!(out, "}} }} }}");
    }
}

fn field_doc(message: &Message, field: &Field) -> String {
    let mut doc = capital(&versions_open(field.versions, message.versions));
    if let Some(null) = field.nullable {
        doc.push_str(if null == field.versions { "; nullable" } else { "; nullable in some" });
    }
    if let Some(tag) = field.tag {
        write!(doc, "; tag {tag}").expect("a String takes all");
    }
    if let Some(value) = &field.default {
        write!(doc, "; default `{value}`").expect("a String takes all");
    }
    doc + "."
}

fn versions(range: Range) -> String {
    if range.low == range.high {
        format!("version {}", range.low)
    } else {
        format!("versions {} to {}", range.low, range.high)
    }
}

fn versions_open(range: Range, scope: Range) -> String {
    if range == scope {
        "all versions".to_owned()
    } else if range.high == scope.high {
        format!("version {} on", range.low)
    } else {
        versions(range)
    }
}

fn capital(text: &str) -> String {
    text[..1].to_uppercase() + &text[1..]
}

pub fn optional(field: &Field) -> bool {
    field.nullable.is_some() || field.ty == Type::Records
}

fn rust_type(field: &Field) -> String {
    let plain = plain_type(&field.ty);
    if optional(field) { format!("Option<{plain}>") } else { plain }
}

pub fn plain_type(ty: &Type) -> String {
    match ty {
        Type::Bool => "bool".to_owned(),
        Type::I8 => "i8".to_owned(),
        Type::I16 => "i16".to_owned(),
        Type::I32 => "i32".to_owned(),
        Type::I64 => "i64".to_owned(),
        Type::U16 => "u16".to_owned(),
        Type::U32 => "u32".to_owned(),
        Type::F64 => "f64".to_owned(),
        Type::Uuid => "Uuid".to_owned(),
        Type::String => "String".to_owned(),
        Type::Bytes | Type::Records => "Bytes".to_owned(),
        Type::Struct(name) => name.clone(),
        Type::Array(inner) => format!("Vec<{}>", plain_type(inner)),
    }
}

/// Expression of a field's initial value.
pub fn initial(field: &Field) -> String {
    let value = match (&field.default, &field.ty) {
        (None, _) => return "Default::default()".to_owned(),
        (Some(text), Type::String) if text == "\"\"" => "String::new()".to_owned(),
        (Some(text), Type::String) => format!("String::from({text})"),
        (Some(_), Type::Array(_)) => "Vec::new()".to_owned(),
        (Some(_), Type::Struct(name)) => format!("{name}::default()"),
        (Some(text), _) => text.clone(),
    };
    if optional(field) { format!("Some({value})") } else { value }
}

pub fn ident(name: &str) -> String {
    if matches!(name, "match" | "type") { format!("r#{name}") } else { name.to_owned() }
}

pub fn snake(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.chars().enumerate() {
        if c.is_uppercase() && i > 0 {
            out.push('_');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// Table of (struct, version, bytes in memory, least bytes encoded) of everything that stands in arrays: the allocation bound's evidence.
fn sizes(out: &mut String, files: &[File]) {
    line!(out, "/// What one array element costs: (struct, flexible, bytes in memory, least bytes on the wire).");
    line!(out, "pub static ELEMENT_SIZES: &[(&str, bool, usize, usize)] = &[");
    for file in files {
        let messages = match &file.kind {
            Kind::Api { request, response, .. } => vec![request.clone(), response.clone()],
            Kind::Data { message } => vec![message.clone()],
        };
        let mut messages = messages;
        if let [request, response] = messages.as_mut_slice() {
            separate(request, response);
        }
        for message in &messages {
            for item in &message.structs[1..] {
                let path = format!("{}::{}", snake(&file.name), item.name);
                for flexible in [false, true] {
                    if let Some(least) = emit_codec::least_size(message, item, flexible) {
                        line!(out, "(\"{path}\", {flexible}, size_of::<{path}>(), {least}),");
                    }
                }
            }
        }
    }
    line!(out, "];");
}

/// The enum of API keys with its tables.
pub fn api_key(files: &[File]) -> String {
    let apis: Vec<(&str, i16, Range, i16)> = files
        .iter()
        .filter_map(|file| match &file.kind {
            Kind::Api { key, request, .. } => {
                Some((file.name.as_str(), *key, request.versions, request.flexible.unwrap_or(i16::MAX)))
            }
            Kind::Data { .. } => None,
        })
        .collect();
    let mut out = String::new();
    line!(out, "/// An API of the protocol, by its key on the wire.");
    line!(out, "#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]");
    line!(out, "#[repr(i16)]");
    line!(out, "pub enum ApiKey {{");
    for (name, key, range, _) in &apis {
        line!(out, "/// {name}, {}.", versions(*range));
        line!(out, "{name} = {key},");
    }
    line!(out, "}}");
    line!(out, "impl ApiKey {{");
    line!(out, "/// Every API that this crate can encode, by key.");
    line!(out, "pub const ALL: &[ApiKey] = &[");
    for (name, ..) in &apis {
        line!(out, "ApiKey::{name},");
    }
    line!(out, "];");
    line!(out, "/// Kafka's name of the API.");
    line!(out, "pub const fn name(self) -> &'static str {{ match self {{");
    for (name, ..) in &apis {
        line!(out, "ApiKey::{name} => \"{name}\",");
    }
    line!(out, "}} }}");
    line!(out, "/// Versions that this crate can encode and decode.");
    line!(out, "pub const fn versions(self) -> std::ops::RangeInclusive<i16> {{ match self {{");
    for (name, _, range, _) in &apis {
        line!(out, "ApiKey::{name} => {}..={},", range.low, range.high);
    }
    line!(out, "}} }}");
    line!(out, "/// First version with compact types and tagged fields (KIP-482); `i16::MAX` where there is none yet.");
    line!(out, "pub const fn first_flexible_version(self) -> i16 {{ match self {{");
    for (name, _, _, flexible) in &apis {
        line!(out, "ApiKey::{name} => {flexible},");
    }
    line!(out, "}} }}");
    line!(out, "/// The API with this key, if this crate knows it.");
    line!(out, "pub const fn from_key(key: i16) -> Option<ApiKey> {{ match key {{");
    for (name, key, ..) in &apis {
        line!(out, "{key} => Some(ApiKey::{name}),");
    }
    line!(out, "_ => None, }} }}");
    line!(out, "}}");
    out
}
