//! Writes encoders and decoders.

use crate::emit::{ident, initial, line, optional, plain_type};
use crate::schema::{Field, Message, Range, Struct, Type};
use std::fmt::Write;

pub fn message_impl(out: &mut String, message: &Message) {
    let name = &message.structs[0].name;
    let Range { low, high } = message.versions;
    line!(out, "impl Message for {name} {{");
    line!(out, "const NAME: &'static str = \"{name}\";");
    line!(out, "const VERSIONS: std::ops::RangeInclusive<i16> = {low}..={high};");
    line!(out, "const FIRST_FLEXIBLE: i16 = {};", message.flexible.unwrap_or(i16::MAX));
    line!(out, "fn encode_around(&self, version: i16, buf: &mut BytesMut, around: &mut codec::Around)");
    line!(out, "-> Result<(), EncodeError> {{");
    line!(out, "codec::check_encode::<Self>(version)?; self.write(version, buf, around) }}");
    line!(out, "fn decode(version: i16, buf: &mut Bytes) -> Result<Self, DecodeError> {{");
    line!(out, "codec::check_decode::<Self>(version)?; Self::read(version, buf) }}");
    if message.structs[0].fields.iter().any(|f| f.name == "throttle_time_ms") {
        line!(out, "fn throttle_time_ms(&mut self) -> Option<&mut i32> {{ Some(&mut self.throttle_time_ms) }}");
    }
    if errors_in(message, &message.structs[0]) {
        line!(out, "fn each_error(&self, visit: &mut dyn FnMut(crate::ErrorCode)) {{ self.errors(visit); }}");
    }
    line!(out, "}}");
}

pub fn struct_impl(out: &mut String, message: &Message, item: &Struct) {
    line!(out, "impl {} {{", item.name);
    line!(out, "fn write(&self, version: i16, buf: &mut BytesMut, around: &mut codec::Around)");
    line!(out, "-> Result<(), EncodeError> {{");
    flex_let(out, message);
    for field in item.fields.iter().filter(|f| f.tag.is_none()) {
        write_field(out, message, item, field);
    }
    write_tags(out, message, item);
    line!(out, "let _ = (version, flex, buf, around); Ok(()) }}");

    line!(out, "fn read(version: i16, buf: &mut Bytes) -> Result<Self, DecodeError> {{");
    flex_let(out, message);
    let tagged = item.fields.iter().any(|f| f.tag.is_some());
    for field in item.fields.iter().filter(|f| f.tag.is_none()) {
        read_field(out, message, item, field);
    }
    line!(out, "let {}out = Self {{", if tagged { "mut " } else { "" });
    for field in &item.fields {
        if field.tag.is_none() {
            line!(out, "{}: f_{},", ident(&field.name), field.name);
        } else {
            line!(out, "{}: {},", ident(&field.name), initial(field));
        }
    }
    line!(out, "}};");
    read_tags(out, message, item);
    line!(out, "let _ = (version, flex, buf); Ok(out) }}");
    if errors_in(message, item) {
        visit_errors(out, message, item);
    }
    line!(out, "}}");
}

/// Whether the struct, or one inside it, has an error code.
fn errors_in(message: &Message, item: &Struct) -> bool {
    item.fields.iter().any(|f| is_error(f) || inner_struct(message, f).is_some_and(|s| errors_in(message, s)))
}

fn is_error(field: &Field) -> bool {
    field.name == "error_code" && field.ty == Type::I16
}

fn inner_struct<'a>(message: &'a Message, field: &Field) -> Option<&'a Struct> {
    let name = field.ty.struct_name()?;
    message.structs.iter().find(|s| s.name == name)
}

/// A walk over all error codes, outer before inner.
fn visit_errors(out: &mut String, message: &Message, item: &Struct) {
    line!(out, "fn errors(&self, visit: &mut dyn FnMut(crate::ErrorCode)) {{");
    for field in &item.fields {
        let name = ident(&field.name);
        if is_error(field) {
            line!(out, "visit(crate::ErrorCode(self.{name}));");
        }
        if !inner_struct(message, field).is_some_and(|s| errors_in(message, s)) {
            continue;
        }
        match (&field.ty, optional(field)) {
            (Type::Array(_), false) => line!(out, "for e in &self.{name} {{ e.errors(visit); }}"),
            (Type::Array(_), true) => line!(out, "for e in self.{name}.iter().flatten() {{ e.errors(visit); }}"),
            (_, false) => line!(out, "self.{name}.errors(visit);"),
            (_, true) => line!(out, "if let Some(e) = &self.{name} {{ e.errors(visit); }}"),
        }
    }
    line!(out, "}}");
}

fn flex_let(out: &mut String, message: &Message) {
    match message.flexible {
        None => line!(out, "let flex = false;"),
        Some(from) if from <= message.versions.low => line!(out, "let flex = true;"),
        Some(from) => line!(out, "let flex = version >= {from};"),
    }
}

/// Rust condition that holds for the versions of `range` within `scope`; none if it always holds.
fn condition(range: Range, scope: Range) -> Option<String> {
    match (range.low <= scope.low, range.high >= scope.high) {
        (true, true) => None,
        (true, false) => Some(format!("version <= {}", range.high)),
        (false, true) => Some(format!("version >= {}", range.low)),
        (false, false) if range.low == range.high => Some(format!("version == {}", range.low)),
        (false, false) => Some(format!("({}..={}).contains(&version)", range.low, range.high)),
    }
}

/// Condition that the field differs from its default.
fn differs(field: &Field) -> String {
    let name = format!("self.{}", ident(&field.name));
    match (&field.ty, &field.default, optional(field)) {
        (_, None, true) => format!("{name}.is_some()"),
        (Type::String | Type::Array(_), _, true) => format!("{name}.as_ref().is_none_or(|v| !v.is_empty())"),
        (Type::String, Some(text), false) if text != "\"\"" => format!("{name} != {text}"),
        (Type::String | Type::Array(_) | Type::Bytes, _, false) => format!("!{name}.is_empty()"),
        (Type::Bool, None, false) => name,
        (Type::Bool, Some(text), false) if text == "true" => format!("!{name}"),
        _ => format!("{name} != {}", initial(field)),
    }
}

fn write_field(out: &mut String, message: &Message, item: &Struct, field: &Field) {
    let when = condition(field.versions, message.versions);
    if let Some(when) = &when {
        line!(out, "if {when} {{");
    }
    write_value(out, message, item, field);
    if when.is_some() {
        if field.strict {
            line!(out, "}} else if {} {{", differs(field));
            line!(out, "return Err(EncodeError::Field {{ field: \"{}.{}\", version }});", item.name, field.name);
        }
        line!(out, "}}");
    }
}

/// Writes the field's value, null or not.
fn write_value(out: &mut String, message: &Message, item: &Struct, field: &Field) {
    let place = format!("self.{}", ident(&field.name));
    if !optional(field) {
        write_plain(out, &field.ty, &place, false);
        return;
    }
    line!(out, "match &{place} {{");
    line!(out, "Some(v) => {{");
    if matches!(field.ty, Type::Struct(_)) {
        line!(out, "buf.put_i8(1);");
    }
    write_plain(out, &field.ty, "v", true);
    line!(out, "}}");
    let null = match &field.ty {
        Type::String => "codec::put_null_string(buf, flex)",
        // Inside a tagged field Kafka marks null and not null by a varint, elsewhere by a signed byte.
        Type::Struct(_) if field.tag.is_some() => "buf.put_i8(0)",
        Type::Struct(_) => "buf.put_i8(-1)",
        _ => "codec::put_null_length(buf, flex)",
    };
    let error = format!("return Err(EncodeError::Null {{ field: \"{}.{}\", version }})", item.name, field.name);
    let range = if field.ty == Type::Records && field.nullable.is_none() { None } else { field.nullable };
    match range.map(|range| condition(range, scope_of(field, message))) {
        None => line!(out, "None => {error},"),
        Some(None) => line!(out, "None => {null},"),
        Some(Some(when)) => {
            line!(out, "None if {when} => {null},");
            line!(out, "None => {error},");
        }
    }
    line!(out, "}}");
}

/// Versions that reach the code of a field: its own.
fn scope_of(field: &Field, message: &Message) -> Range {
    Range { low: field.versions.low.max(message.versions.low), high: field.versions.high.min(message.versions.high) }
}

/// Writes a value that is there; `place` names it, by reference if `borrowed`.
fn write_plain(out: &mut String, ty: &Type, place: &str, borrowed: bool) {
    let value = if borrowed { format!("*{place}") } else { place.to_owned() };
    let reference = if borrowed { place.to_owned() } else { format!("&{place}") };
    match ty {
        Type::Bool => line!(out, "buf.put_u8(u8::from({value}));"),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::U16 | Type::U32 | Type::F64 => {
            line!(out, "buf.put_{}({value});", plain_type(ty));
        }
        Type::Uuid => line!(out, "buf.put_slice(&{place}.0);"),
        Type::String => line!(out, "codec::put_string(buf, flex, {reference})?;"),
        Type::Bytes => line!(out, "codec::put_bytes(buf, flex, {reference})?;"),
        Type::Records => line!(out, "codec::put_records(buf, flex, {reference}, around)?;"),
        Type::Struct(_) => line!(out, "{place}.write(version, buf, around)?;"),
        Type::Array(inner) => {
            line!(out, "codec::put_count(buf, flex, {place}.len())?;");
            line!(out, "for e in {reference} {{");
            write_plain(out, inner, "e", true);
            line!(out, "}}");
        }
    }
}

/// Version after which the tagged section is there.
fn tagged_scope(message: &Message) -> Option<Range> {
    let from = message.flexible?;
    Some(Range { low: from.max(message.versions.low), high: message.versions.high })
}

fn write_tags(out: &mut String, message: &Message, item: &Struct) {
    let Some(scope) = tagged_scope(message) else { return };
    let mut tagged: Vec<&Field> = item.fields.iter().filter(|f| f.tag.is_some()).collect();
    tagged.sort_by_key(|f| f.tag);
    for field in tagged.iter().filter(|f| f.strict) {
        if let Some(when) = condition(field.versions, message.versions) {
            line!(out, "if !({when}) && {} {{", differs(field));
            line!(out, "return Err(EncodeError::Field {{ field: \"{}.{}\", version }}); }}", item.name, field.name);
        }
    }
    line!(out, "if flex {{");
    if tagged.is_empty() {
        line!(out, "buf.put_u8(0);");
    } else {
        line!(out, "let mut count = 0u32;");
        let mut conditions = Vec::new();
        for field in &tagged {
            let when = condition(field.versions, scope)
                .map_or_else(|| differs(field), |w| format!("{w} && {}", differs(field)));
            line!(out, "if {when} {{ count += 1; }}");
            conditions.push(when);
        }
        line!(out, "codec::put_uvarint(buf, count);");
        for (field, when) in tagged.iter().zip(conditions) {
            let tag = field.tag.unwrap_or_default();
            line!(out, "if {when} {{");
            line!(out, "codec::put_tag(buf, {tag}, |buf| {{ let around = &mut codec::Around::default();");
            write_value(out, message, item, field);
            line!(out, "let _ = around; Ok(()) }})?; }}");
        }
    }
    line!(out, "}}");
}

fn read_field(out: &mut String, message: &Message, item: &Struct, field: &Field) {
    let name = &field.name;
    let value = read_value(message, item, field);
    match condition(field.versions, message.versions) {
        None => line!(out, "let f_{name} = {value};"),
        Some(when) => line!(out, "let f_{name} = if {when} {{ {value} }} else {{ {} }};", initial(field)),
    }
}

/// Expression that reads the field's value, null or not.
fn read_value(message: &Message, item: &Struct, field: &Field) -> String {
    if !optional(field) {
        return read_plain(message, &field.ty, item, field);
    }
    let read = match &field.ty {
        Type::String => "codec::get_nullable_string(buf, flex)?".to_owned(),
        Type::Bytes | Type::Records => "codec::get_nullable_bytes(buf, flex)?".to_owned(),
        Type::Struct(name) if field.tag.is_some() => {
            format!("if codec::get_uvarint(buf)? != 0 {{ Some({name}::read(version, buf)?) }} else {{ None }}")
        }
        Type::Struct(name) => {
            format!("if codec::get_present(buf)? {{ Some({name}::read(version, buf)?) }} else {{ None }}")
        }
        Type::Array(inner) => read_array(message, inner, item, field),
        other => panic!("{}.{}: {other:?} cannot be null", item.name, field.name),
    };
    let scope = scope_of(field, message);
    match field.nullable.map(|range| condition(range, scope)) {
        Some(None) => read,
        Some(Some(when)) => format!("codec::null_ok({read}, {when}, \"{}.{}\")?", item.name, field.name),
        None => format!("codec::null_ok({read}, false, \"{}.{}\")?", item.name, field.name),
    }
}

fn read_plain(message: &Message, ty: &Type, item: &Struct, field: &Field) -> String {
    match ty {
        Type::Struct(name) => format!("{name}::read(version, buf)?"),
        Type::Array(inner) => {
            format!("codec::not_null({}, \"{}.{}\")?", read_array(message, inner, item, field), item.name, field.name)
        }
        Type::String => format!("codec::get_string(buf, flex, \"{}.{}\")?", item.name, field.name),
        Type::Bytes | Type::Records => format!("codec::get_bytes(buf, flex, \"{}.{}\")?", item.name, field.name),
        plain => format!("codec::get_{}(buf)?", plain_type(plain).to_lowercase()),
    }
}

fn read_array(message: &Message, inner: &Type, item: &Struct, field: &Field) -> String {
    let least = |flexible| match inner {
        Type::Struct(name) => {
            let found = message.structs.iter().find(|s| s.name == *name).expect("every struct is described");
            least_size(message, found, flexible)
        }
        plain => Some(least_plain(message, plain, flexible)),
    };
    let least = match (least(false), least(true)) {
        (Some(a), Some(b)) if a != b => format!("if flex {{ {b} }} else {{ {a} }}"),
        (Some(a), _) | (None, Some(a)) => a.to_string(),
        (None, None) => "1".to_owned(),
    };
    format!("codec::get_array(buf, flex, {least}, |buf| Ok({}))?", read_plain(message, inner, item, field))
}

/// Least bytes of an encoded struct over all versions that are (not) flexible; none if there are none. Never 0, so a count is always bounded.
pub fn least_size(message: &Message, item: &Struct, flexible: bool) -> Option<usize> {
    let from = message.flexible.unwrap_or(i16::MAX);
    message
        .versions
        .versions()
        .filter(|&version| (version >= from) == flexible)
        .map(|version| {
            let fields = item.fields.iter().filter(|f| f.tag.is_none() && f.versions.contains(version));
            let sum: usize = fields
                .map(|f| match &f.ty {
                    Type::Struct(_) if optional(f) => 1,
                    ty => least_plain(message, ty, flexible),
                })
                .sum();
            (sum + usize::from(flexible)).max(1)
        })
        .min()
}

fn least_plain(message: &Message, ty: &Type, flexible: bool) -> usize {
    match ty {
        Type::Bool | Type::I8 => 1,
        Type::I16 | Type::U16 => 2,
        Type::I32 | Type::U32 => 4,
        Type::I64 | Type::F64 => 8,
        Type::Uuid => 16,
        Type::String if !flexible => 2,
        Type::Bytes | Type::Records | Type::Array(_) if !flexible => 4,
        Type::String | Type::Bytes | Type::Records | Type::Array(_) => 1,
        Type::Struct(name) => {
            let found = message.structs.iter().find(|s| s.name == *name).expect("every struct is described");
            least_size(message, found, flexible).unwrap_or(1)
        }
    }
}

fn read_tags(out: &mut String, message: &Message, item: &Struct) {
    if message.flexible.is_none() {
        return;
    }
    let scope = tagged_scope(message).unwrap_or(message.versions);
    let mut arms = String::new();
    for field in item.fields.iter().filter(|f| f.tag.is_some()) {
        let when = condition(field.versions, scope).map_or_else(String::new, |w| format!("if {w} "));
        let tag = field.tag.unwrap_or_default();
        let value = read_value(message, item, field);
        writeln!(arms, "{tag} {when}=> {{ out.{} = {value}; true }}", ident(&field.name)).expect("a String takes all");
    }
    if arms.is_empty() {
        line!(out, "if flex {{ codec::skip_tags(buf)?; }}");
    } else {
        line!(out, "if flex {{ codec::get_tags(buf, |tag, buf| Ok(match tag {{ {arms} _ => false }}))?; }}");
    }
}
