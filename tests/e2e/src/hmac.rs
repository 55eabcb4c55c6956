//! What a receiver checks that has nothing but an HMAC function. Independent of `libs/signing` on purpose: the two
//! implementations check each other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::Request;

fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// Returns what `X-Webhook-Signature` must be: `sha256=` and the hex HMAC of `{timestamp}.{body}` under the whole
/// secret string (spec §4).
#[must_use]
pub fn x_webhook(secret: &str, timestamp: &str, body: &[u8]) -> String {
    let digest = hmac_sha256(secret.as_bytes(), &[timestamp.as_bytes(), b".", body]);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

/// Returns the entry that `webhook-signature` must have: `v1,` and the base64 HMAC of `{id}.{timestamp}.{body}` under
/// the decoded bytes of the secret (spec §4).
///
/// # Panics
/// When the secret is not `whsec_` and base64.
#[must_use]
pub fn standard(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let encoded = secret.strip_prefix("whsec_").expect("a secret starts with whsec_");
    let key = STANDARD.decode(encoded).expect("the rest of a secret is base64");
    let digest = hmac_sha256(&key, &[id.as_bytes(), b".", timestamp.as_bytes(), b".", body]);
    format!("v1,{}", STANDARD.encode(digest))
}

/// Tells whether `X-Webhook-Signature` is by this secret.
#[must_use]
pub fn verifies_x_webhook(secret: &str, request: &Request) -> bool {
    let timestamp = request.header("x-webhook-timestamp");
    request.header("x-webhook-signature") == x_webhook(secret, timestamp, &request.body)
}

/// Tells whether `X-Webhook-Signature-Previous` is by this secret.
#[must_use]
pub fn verifies_x_webhook_previous(secret: &str, request: &Request) -> bool {
    let timestamp = request.header("x-webhook-timestamp");
    request.header("x-webhook-signature-previous") == x_webhook(secret, timestamp, &request.body)
}

/// Tells whether `webhook-signature` has an entry by this secret.
#[must_use]
pub fn verifies_standard(secret: &str, request: &Request) -> bool {
    let (id, timestamp) = (request.header("webhook-id"), request.header("webhook-timestamp"));
    let wanted = standard(secret, id, timestamp, &request.body);
    request.header("webhook-signature").split(' ').any(|entry| entry == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn hmac_agrees_with_the_rfc() {
        let digest = hmac_sha256(b"Jefe", &[b"what do ya want ", b"for nothing?"]);
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }

    /// The example of the Standard Webhooks libraries' own tests.
    #[test]
    fn standard_agrees_with_the_published_example() {
        let signature = standard(
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
