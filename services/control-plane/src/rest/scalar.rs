//! JSON into scalars, enums and well-known types, as proto3 JSON has them.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, MessageDescriptor, Value};
use serde_json::Value as Json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::decode::kind_of;
use super::path::{Path, Violation};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The longest duration of `google.protobuf.Duration`, in seconds.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;

/// Makes a scalar or an enum.
pub(super) fn scalar(kind: &Kind, value: &Json, path: Path<'_>) -> Result<Value, Violation> {
    match kind {
        Kind::Bool => value
            .as_bool()
            .map(Value::Bool)
            .ok_or_else(|| path.fault(format!("must be true or false, not {}", kind_of(value)))),
        Kind::String => text(value, path).map(|text| Value::String(text.to_owned())),
        Kind::Bytes => bytes(text(value, path)?, path).map(Value::Bytes),
        Kind::Enum(descriptor) => enumeration(descriptor, value, path).map(Value::EnumNumber),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => integer(value, path).map(Value::I32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => integer(value, path).map(Value::I64),
        Kind::Uint32 | Kind::Fixed32 => integer(value, path).map(Value::U32),
        Kind::Uint64 | Kind::Fixed64 => integer(value, path).map(Value::U64),
        Kind::Double => number(value, path).map(Value::F64),
        #[expect(clippy::cast_possible_truncation, reason = "a float field holds what a float can")]
        Kind::Float => number(value, path).map(|value| Value::F32(value as f32)),
        Kind::Message(descriptor) => Err(path.fault(format!("must be a {}", descriptor.name()))),
    }
}

/// Makes one of the messages that have a JSON form of their own.
pub(super) fn well_known(
    descriptor: &MessageDescriptor,
    value: &Json,
    path: Path<'_>,
) -> Result<DynamicMessage, Violation> {
    match descriptor.name() {
        "Duration" => {
            let (seconds, nanos) = duration(value, path)?;
            seconds_and_nanos(descriptor, seconds, nanos, path)
        }
        "Timestamp" => {
            let (seconds, nanos) = timestamp(value, path)?;
            seconds_and_nanos(descriptor, seconds, nanos, path)
        }
        "FieldMask" => {
            let paths =
                text(value, path)?.split(',').map(str::trim).filter(|path| !path.is_empty());
            let paths = paths.map(|path| Value::String(snake_case(path))).collect();
            let mut message = DynamicMessage::new(descriptor.clone());
            message
                .try_set_field_by_name("paths", Value::List(paths))
                .map_err(|error| path.fault(error.to_string()))?;
            Ok(message)
        }
        // Struct, Value, wrappers, Any: as the library reads them. No request of ours has one yet.
        _ => DynamicMessage::deserialize(descriptor.clone(), value)
            .map_err(|error| path.fault(error.to_string())),
    }
}

/// `createTime` → `create_time`, each part of a path by itself.
fn snake_case(path: &str) -> String {
    let mut snake = String::with_capacity(path.len() + 4);
    for c in path.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

fn seconds_and_nanos(
    descriptor: &MessageDescriptor,
    seconds: i64,
    nanos: i32,
    path: Path<'_>,
) -> Result<DynamicMessage, Violation> {
    let mut message = DynamicMessage::new(descriptor.clone());
    let set =
        |message: &mut DynamicMessage, name, value| message.try_set_field_by_name(name, value);
    set(&mut message, "seconds", Value::I64(seconds))
        .and_then(|()| set(&mut message, "nanos", Value::I32(nanos)))
        .map_err(|error| path.fault(error.to_string()))?;
    Ok(message)
}

/// `3.5s`: seconds with up to nine decimals. Returns seconds and nanoseconds of one sign.
fn duration(value: &Json, path: Path<'_>) -> Result<(i64, i32), Violation> {
    let given = text(value, path)?;
    let fault = || {
        path.fault(format!(
            "must be a duration in seconds such as \"30s\" or \"3.5s\", not {given:?}"
        ))
    };
    let number = given.strip_suffix('s').ok_or_else(fault)?;
    let (sign, number) = number.strip_prefix('-').map_or((1, number), |number| (-1, number));
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return Err(fault());
    }
    let seconds: i64 = whole.parse().map_err(|_| fault())?;
    let nanos: i32 = format!("{fraction:0<9}").parse().map_err(|_| fault())?;
    if seconds > DURATION_SECONDS_MAX {
        return Err(path.fault(format!("must be at most {DURATION_SECONDS_MAX}s")));
    }
    Ok((sign * seconds, i32::try_from(sign).unwrap_or(1) * nanos))
}

/// RFC 3339 with an offset, such as `2026-08-01T12:00:00Z`.
fn timestamp(value: &Json, path: Path<'_>) -> Result<(i64, i32), Violation> {
    let given = text(value, path)?;
    let parsed = OffsetDateTime::parse(given, &Rfc3339).map_err(|_| {
        path.fault(format!(
            "must be a time in RFC 3339 such as \"2026-08-01T12:00:00Z\", not {given:?}"
        ))
    })?;
    // Nanoseconds of a second are below 10⁹.
    Ok((parsed.unix_timestamp(), i32::try_from(parsed.nanosecond()).unwrap_or(0)))
}

fn text<'j>(value: &'j Json, path: Path<'_>) -> Result<&'j str, Violation> {
    value.as_str().ok_or_else(|| path.fault(format!("must be a string, not {}", kind_of(value))))
}

/// Base64 of either alphabet, padded or not.
pub(super) fn bytes(text: &str, path: Path<'_>) -> Result<Bytes, Violation> {
    let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    let decoded = engine.decode(text);
    decoded.map(Bytes::from).map_err(|error| path.fault(format!("must be base64: {error}")))
}

fn enumeration(
    descriptor: &EnumDescriptor,
    value: &Json,
    path: Path<'_>,
) -> Result<i32, Violation> {
    let found = match value {
        Json::String(name) => descriptor.get_value_by_name(name),
        Json::Number(number) => number
            .as_i64()
            .and_then(|n| i32::try_from(n).ok())
            .and_then(|n| descriptor.get_value(n)),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    };
    found.map(|found| found.number()).ok_or_else(|| {
        let names: Vec<_> =
            descriptor.values().filter(|v| v.number() != 0).map(|v| v.name().to_owned()).collect();
        path.fault(format!("must be one of {}, not {value}", names.join(", ")))
    })
}

/// A whole number, as a number or as a string; `1.0` and `1e3` are whole.
fn integer<I: TryFrom<i128>>(value: &Json, path: Path<'_>) -> Result<I, Violation> {
    let whole = match value {
        Json::Number(number) => whole(&number.to_string()),
        Json::String(text) => whole(text),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    };
    whole.and_then(|whole| I::try_from(whole).ok()).ok_or_else(|| {
        let bits = 8 * size_of::<I>();
        path.fault(format!("must be a whole number that fits {bits} bits, not {value}"))
    })
}

fn whole(text: &str) -> Option<i128> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let number: f64 = text.parse().ok()?;
    // Beyond 2⁵³ a float is not exact.
    if number.fract() != 0.0 || number.abs() > 9_007_199_254_740_992.0 {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2⁵³")]
    Some(number as i128)
}

fn number(value: &Json, path: Path<'_>) -> Result<f64, Violation> {
    let number = match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => text.parse().ok(),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    };
    let finite = number.filter(|number: &f64| number.is_finite());
    finite.ok_or_else(|| path.fault(format!("must be a number, not {value}")))
}
