//! Webhook signatures and the secrets behind them, for senders and receivers.
//!
//! Both header families of spec §4: `standard` (Standard Webhooks 1.0.0) and `x-webhook` (timestamp and body under a
//! plain HMAC). A [`Signer`] is made once per endpoint and set of live secrets and then signs any number of
//! deliveries; [`verify_standard`] and [`verify_x_webhook`] are the other side.
//!
//! Deliberately absent: clocks (times are arguments), HTTP types (headers are pairs of strings or a look-up function),
//! storage and expiry of secrets (the caller decides which are live), other providers' formats.
//!
//! `vectors.json` beside this crate holds byte-exact examples of everything here, for implementers in any language.
//!
//! Invariants: SE-1 (a signer uses exactly the secrets that it was given), SE-3 (no secret in `Debug` or errors).

mod asymmetric;
mod mac;
mod secret;
mod signer;
mod verify;

#[cfg(test)]
mod vectors;

pub use asymmetric::{KeyError, PrivateKey, PublicKey};
pub use secret::{Secret, SecretError};
pub use signer::{Scheme, SignedHeaders, Signer};
pub use verify::{
    DEFAULT_TOLERANCE, StandardKeys, Verified, VerifiedXWebhook, VerifyError, from_pairs,
    verify_standard, verify_x_webhook,
};

/// Names of the headers that carry signatures, in lower case as HTTP libraries store them.
pub mod header {
    /// The event's id, covered by the signature (`standard`).
    pub const WEBHOOK_ID: &str = "webhook-id";
    /// Unix seconds of the attempt, covered by the signature (`standard`).
    pub const WEBHOOK_TIMESTAMP: &str = "webhook-timestamp";
    /// Space-separated `v1,…` and `v1a,…` entries, the current secret's first (`standard`).
    pub const WEBHOOK_SIGNATURE: &str = "webhook-signature";
    /// The event's id, **not** covered by the signature (`x-webhook`).
    pub const X_WEBHOOK_ID: &str = "x-webhook-id";
    /// Unix seconds of the attempt, covered by the signature (`x-webhook`).
    pub const X_WEBHOOK_TIMESTAMP: &str = "x-webhook-timestamp";
    /// `sha256=` and lower-case hex, by the current secret (`x-webhook`).
    pub const X_WEBHOOK_SIGNATURE: &str = "x-webhook-signature";
    /// The same by the secret before the current one, while that one is live (`x-webhook`, spec §5).
    pub const X_WEBHOOK_SIGNATURE_PREVIOUS: &str = "x-webhook-signature-previous";
}
