//! The one way out to receivers.
//!
//! [`Egress`] is the `Sender` port: one signed request in, one outcome out. Nothing else in Postrider opens a connection to an address that a
//! tenant chose.
//!
//! # Theory of operation
//!
//! A URL becomes a destination (checked by the policy, kept in a bounded table), a destination's origin holds idle connections. A send takes an idle
//! connection, or resolves the name, has **every** answer judged by the policy, and dials one of exactly those addresses. The connection is driven by
//! the task that sends: no task per connection, and dropping the send closes it. The status line decides the outcome; at most 16 KiB of body are read,
//! and only a body that ended gives its connection back.
//!
//! A request leaves this process at most once (SN-2): a pooled connection that turns out dead is replaced only when hyper hands the request back as
//! never started; anything later is a failed attempt.
//!
//! Deliberately absent: redirects, proxies (also those of the environment), cookies, decompression, HTTP/2, retries, signing.
//!
//! Invariants: SE-2 (no connection to an address that the policy forbids), OP-2 (memory is bounded whatever receivers do).

mod answer;
mod client;
mod destination;
mod dial;
mod exchange;
mod failure;
mod monotonic;
mod pool;
mod resolve;
mod settings;
mod stream;
mod tls;

#[cfg(test)]
mod tests;

pub use client::Egress;
pub use settings::{BuildError, Settings};
