//! Errors with `google.rpc` details, as gRPC carries them: `grpc-status-details-bin` holds a [`rpc::Status`].
//!
//! [`Details`] is what Postrider's errors may carry. Build one, make a [`tonic::Status`] of it with [`Details::status`],
//! and read it back on the other side with [`Details::of`].

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};

use crate::rpc::{self, BadRequest, ErrorInfo, RetryInfo};

/// The `domain` of every [`ErrorInfo`].
pub const ERROR_DOMAIN: &str = "postrider.dev";

/// The details of an error: all parts are optional.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Details {
    /// The reason in `UPPER_SNAKE_CASE`, stable for programs, with its metadata.
    pub info: Option<ErrorInfo>,
    /// Which fields were wrong, and what is allowed.
    pub bad_request: Option<BadRequest>,
    /// How long to wait before trying again.
    pub retry: Option<RetryInfo>,
}

impl Details {
    /// Starts with a reason, such as `IDEMPOTENCY_KEY_REUSED`, in [`ERROR_DOMAIN`].
    pub fn reason(reason: impl Into<String>) -> Self {
        Self::default().with_reason(reason)
    }

    /// Starts with one field violation: `field` is a path such as `events[3].type`, in the names of the proto.
    pub fn field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::default().with_field(field, description)
    }

    /// Sets the reason, keeping the metadata.
    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.info_mut().reason = reason.into();
        self
    }

    /// Adds a piece of metadata to the reason.
    #[must_use]
    pub fn with_metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.info_mut().metadata.insert(key.into(), value.into());
        self
    }

    /// Adds a field violation.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        let violation = rpc::bad_request::FieldViolation {
            field: field.into(),
            description: description.into(),
            ..Default::default()
        };
        self.bad_request.get_or_insert_default().field_violations.push(violation);
        self
    }

    /// Says how long to wait before trying again; clamped to what a protobuf duration holds.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
        // Nanoseconds of a second are below 10⁹.
        let nanos = i32::try_from(delay.subsec_nanos()).unwrap_or(0);
        self.retry =
            Some(RetryInfo { retry_delay: Some(prost_types::Duration { seconds, nanos }) });
        self
    }

    /// Makes the error. `message` is for people: what was wrong with which field, and what is allowed.
    pub fn status(&self, code: Code, message: impl Into<String>) -> Status {
        let message = message.into();
        let encoded = self.to_rpc(code, message.clone()).encode_to_vec();
        Status::with_details(code, message, Bytes::from(encoded))
    }

    /// Reads the details that `status` carries. What does not decode, or is of another type, is left out: a peer's odd
    /// details never hide its error.
    pub fn of(status: &Status) -> Self {
        rpc::Status::decode(status.details()).map(|rpc| Self::of_rpc(&rpc)).unwrap_or_default()
    }

    /// Reads the details of a `google.rpc.Status`, as results of a batch carry it.
    pub fn of_rpc(status: &rpc::Status) -> Self {
        let mut details = Self::default();
        for any in &status.details {
            if let Some(info) = unpack::<ErrorInfo>(any) {
                details.info = Some(info);
            } else if let Some(bad_request) = unpack::<BadRequest>(any) {
                details.bad_request = Some(bad_request);
            } else if let Some(retry) = unpack::<RetryInfo>(any) {
                details.retry = Some(retry);
            }
        }
        details
    }

    /// Makes a `google.rpc.Status`, as results of a batch carry it.
    pub fn to_rpc(&self, code: Code, message: impl Into<String>) -> rpc::Status {
        let details = [
            self.info.as_ref().map(pack),
            self.bad_request.as_ref().map(pack),
            self.retry.as_ref().map(pack),
        ];
        rpc::Status {
            code: i32::from(code),
            message: message.into(),
            details: details.into_iter().flatten().collect(),
        }
    }

    fn info_mut(&mut self) -> &mut ErrorInfo {
        self.info.get_or_insert_with(|| ErrorInfo {
            domain: ERROR_DOMAIN.to_owned(),
            ..Default::default()
        })
    }
}

/// Returns the reason that `status` carries, such as `IDEMPOTENCY_KEY_REUSED`.
pub fn reason(status: &Status) -> Option<String> {
    Details::of(status).info.map(|info| info.reason)
}

/// Makes an INVALID_ARGUMENT that names one field. The message is `field: description`.
pub fn invalid_field(field: &str, description: &str) -> Status {
    Details::field(field, description)
        .status(Code::InvalidArgument, format!("{field}: {description}"))
}

/// Turns `status` into the message that a batch's result carries, details included.
pub fn to_rpc(status: &Status) -> rpc::Status {
    let details = rpc::Status::decode(status.details()).map(|rpc| rpc.details).unwrap_or_default();
    rpc::Status { code: i32::from(status.code()), message: status.message().to_owned(), details }
}

/// A message that travels as a detail of an error.
trait Detail: Message + Default {
    /// Its full name, the end of its `Any.type_url`.
    const NAME: &str;
}

impl Detail for ErrorInfo {
    const NAME: &str = "google.rpc.ErrorInfo";
}

impl Detail for BadRequest {
    const NAME: &str = "google.rpc.BadRequest";
}

impl Detail for RetryInfo {
    const NAME: &str = "google.rpc.RetryInfo";
}

fn pack<D: Detail>(detail: &D) -> prost_types::Any {
    prost_types::Any {
        type_url: format!("type.googleapis.com/{}", D::NAME),
        value: detail.encode_to_vec(),
    }
}

/// Unpacks by the name after the last `/`: the host before it carries no meaning.
fn unpack<D: Detail>(any: &prost_types::Any) -> Option<D> {
    let name = any.type_url.rsplit('/').next()?;
    if name == D::NAME { D::decode(any.value.as_slice()).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_survive_the_wire() {
        let details = Details::reason("IDEMPOTENCY_KEY_REUSED")
            .with_metadata("key", "k-1")
            .with_field("events[3].type", "must be resource.action")
            .with_retry_after(Duration::from_millis(1500));
        let status = details.status(Code::InvalidArgument, "no");
        assert_eq!(Details::of(&status), details);
        assert_eq!(reason(&status).as_deref(), Some("IDEMPOTENCY_KEY_REUSED"));
    }

    #[test]
    fn unknown_and_broken_details_are_left_out() {
        assert_eq!(
            Details::of(&Status::with_details(Code::Internal, "x", Bytes::from_static(b"\xff"))),
            Details::default()
        );
        assert_eq!(Details::of(&Status::internal("x")), Details::default());
    }
}
