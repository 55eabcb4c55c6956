//! The API on the wire: generated protobuf code, its descriptors, and `google.rpc` error details.
//!
//! Generated from `proto/` by `cargo run -p postrider-tidy --bin generate`; a test keeps the committed files fresh.
//! This crate decides nothing: it neither validates what it carries nor maps errors of the domain (that is
//! `control-plane/src/api`).
//!
//! - [`api::v1`]: messages, server traits and clients of `postrider.api.v1`
//! - [`rpc`]: `google.rpc.Status` and the standard details; [`status`] puts them into a [`tonic::Status`] and back
//! - [`DESCRIPTORS`], [`descriptor_pool`]: what reflection, REST and the OpenAPI document are made from

mod descriptors;
mod generated;
pub mod status;

pub use descriptors::{DESCRIPTORS, descriptor_pool};
pub use generated::google::rpc;
pub use generated::postrider::api;
