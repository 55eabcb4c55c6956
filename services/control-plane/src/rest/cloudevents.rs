//! CloudEvents 1.0 on `events:publish`: structured, batched and binary (surface §3), by its JSON format and HTTP binding.
//!
//! A CloudEvent becomes the event that the JSON form would have made, and goes the same way: the same checks, the same results. `id` is the event's
//! id where it is one, otherwise an id is derived from `source` and `id`, the same at each repeat. `time` is when it happened. `source`, `subject`,
//! `dataschema` and extensions that are not Postrider's have no place in an event, and are left out.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::{EventId, Timestamp};
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use percent_encoding::percent_decode;
use serde_json::Value as Json;
use serde_json::value::RawValue;
use wire::api::v1;

use super::path::{Path, Violation};
use super::{decode, publish, scalar};
use crate::api::time;

/// How CloudEvents lie in a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// One, as a JSON object.
    Structured,
    /// Many, as a JSON array.
    Batch,
    /// One: attributes are headers, the body is the data.
    Binary,
}

type Attributes = BTreeMap<String, String>;

impl Form {
    /// The form of a request; `None` when it holds no CloudEvent. The media type decides before the headers, as the HTTP binding says (§3).
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let media_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
        let media_type = media_type.unwrap_or_default().split(|byte| *byte == b';').next();
        match media_type.unwrap_or_default().trim_ascii().to_ascii_lowercase().as_slice() {
            b"application/cloudevents+json" => Some(Self::Structured),
            b"application/cloudevents-batch+json" => Some(Self::Batch),
            _ => {
                headers.keys().any(|name| name.as_str().starts_with("ce-")).then_some(Self::Binary)
            }
        }
    }
}

/// Makes the request of a body. The tenant is in the path.
pub(super) fn request(
    form: Form,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<v1::PublishEventsRequest, Violation> {
    let root = Path::Root;
    let list = root.field("events");
    let text = |body| {
        std::str::from_utf8(body).map_err(|error| root.fault(format!("is not UTF-8: {error}")))
    };
    let events = match form {
        Form::Structured => vec![structured(text(body)?, Path::Index(&list, 0))?],
        Form::Batch => {
            let items: Vec<&RawValue> = serde_json::from_str(text(body)?).map_err(|error| {
                root.fault(format!("is not a JSON array of CloudEvents: {error}"))
            })?;
            let items = items.into_iter().enumerate();
            items
                .map(|(index, raw)| structured(raw.get(), Path::Index(&list, index)))
                .collect::<Result<_, _>>()?
        }
        Form::Binary => vec![binary(headers, body, Path::Index(&list, 0))?],
    };
    Ok(v1::PublishEventsRequest { events, ..Default::default() })
}

fn structured(text: &str, path: Path<'_>) -> Result<v1::NewEvent, Violation> {
    let mut object = publish::object(text, path)?;
    let (data, base64) = (object.remove("data"), object.remove("data_base64"));
    let mut attributes = Attributes::new();
    for (name, raw) in object {
        let at = path.field(&name);
        let value = match publish::value(raw, at)? {
            Json::Null => continue,
            Json::String(text) => text,
            other @ (Json::Bool(_) | Json::Number(_)) => other.to_string(),
            other @ (Json::Array(_) | Json::Object(_)) => {
                let problem = format!(
                    "must be a string, a number or a boolean, as attributes are, not {}",
                    decode::kind_of(&other)
                );
                return Err(at.fault(problem));
            }
        };
        attributes.insert(name, value);
    }
    let content_type = attributes.remove("datacontenttype").unwrap_or_default();
    let data = match (data, base64) {
        (None, None) => Bytes::new(),
        (Some(_), Some(_)) => {
            return Err(path.field("data_base64").fault("and data are given: give one of them"));
        }
        (Some(data), None) => publish::body_of(data, &content_type, path.field("data"))?,
        (None, Some(base64)) => {
            let at = path.field("data_base64");
            let Json::String(text) = publish::value(base64, at)? else {
                return Err(at.fault("must be a string of base64"));
            };
            scalar::bytes(&text, at)?
        }
    };
    event(&attributes, content_type, data, path)
}

fn binary(headers: &HeaderMap, body: &Bytes, path: Path<'_>) -> Result<v1::NewEvent, Violation> {
    let mut attributes = Attributes::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix("ce-") else {
            continue;
        };
        let text = percent_decode(value.as_bytes()).decode_utf8().map_err(|_| {
            path.field(name).fault("is not UTF-8: headers of CloudEvents are percent-encoded")
        })?;
        attributes.insert(name.to_owned(), text.into_owned());
    }
    let content_type = headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
    let content_type = String::from_utf8_lossy(content_type.unwrap_or_default()).into_owned();
    event(&attributes, content_type, body.clone(), path)
}

fn event(
    attributes: &Attributes,
    content_type: String,
    data: Bytes,
    path: Path<'_>,
) -> Result<v1::NewEvent, Violation> {
    let given = |name: &str| attributes.get(name).filter(|text| !text.is_empty());
    let required = |name: &'static str| {
        given(name).ok_or_else(|| path.field(name).fault("required in a CloudEvent"))
    };
    let version = required("specversion")?;
    if version != "1.0" {
        let problem = format!("{version:?} is not supported: it must be 1.0");
        return Err(path.field("specversion").fault(problem));
    }
    let time_of = |name: &'static str| {
        let parse = |text: &String| {
            Timestamp::parse_rfc3339(text).map(time::to_wire).ok_or_else(|| {
                let problem = "must be a time, such as 2026-08-01T12:00:00Z";
                path.field(name).fault(problem)
            })
        };
        given(name).map(parse).transpose()
    };
    let text = |name: &str| given(name).cloned().unwrap_or_default();
    let channels = given("postriderchannels").map(|list| list.split(',').map(str::trim));
    Ok(v1::NewEvent {
        id: EventId::of_cloud_event(required("source")?, required("id")?).to_string(),
        r#type: required("type")?.clone(),
        create_time: time_of("time")?,
        data,
        content_type,
        api_version: text("postriderapiversion"),
        idempotency_key: text("postrideridempotencykey"),
        ordering_key: text("postriderorderingkey"),
        channels: channels.into_iter().flatten().map(str::to_owned).collect(),
        deliver_time: time_of("postriderdeliverat")?,
    })
}
