use proptest::prelude::*;

use super::*;
use crate::{PrivateKey, Scheme, SignedHeaders, Signer};

const NOW: i64 = 1_700_000_000;
const BODY: &[u8] = br#"{"id":"evt_1","data":{"amount":1.50}}"#;

type Pairs = Vec<(String, Vec<u8>)>;

fn signed(signer: &Signer, body: &[u8]) -> Pairs {
    let mut out = SignedHeaders::new();
    signer.sign("evt_1", NOW, body, &mut out);
    out.iter().map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).collect()
}

fn set(pairs: &Pairs, name: &str, value: impl AsRef<[u8]>) -> Pairs {
    let mut changed: Pairs = pairs.iter().filter(|(n, _)| n != name).cloned().collect();
    changed.push((name.to_owned(), value.as_ref().to_vec()));
    changed
}

fn without(pairs: &Pairs, name: &str) -> Pairs {
    pairs.iter().filter(|(n, _)| n != name).cloned().collect()
}

fn value(pairs: &Pairs, name: &str) -> String {
    String::from_utf8(from_pairs(pairs)(name).unwrap().to_vec()).unwrap()
}

fn standard(keys: &[Secret], pairs: &Pairs, body: &[u8], now: i64) -> Result<i64, VerifyError> {
    verify_standard(keys, from_pairs(pairs), body, now, DEFAULT_TOLERANCE)
        .map(|verified| verified.timestamp)
}

fn x_webhook(keys: &[Secret], pairs: &Pairs, body: &[u8], now: i64) -> Result<i64, VerifyError> {
    verify_x_webhook(keys, from_pairs(pairs), body, now, DEFAULT_TOLERANCE)
        .map(|verified| verified.timestamp)
}

/// A secret, and what it signs under both schemes.
fn fixture() -> (Secret, Pairs) {
    let secret = Secret::generate();
    let pairs = signed(&Signer::new(&secret, &[], Scheme::Both), BODY);
    (secret, pairs)
}

#[test]
fn what_is_signed_verifies_under_both_schemes() {
    let (secret, pairs) = fixture();
    let keys = [secret];
    let verified =
        verify_standard(&keys, from_pairs(&pairs), BODY, NOW, DEFAULT_TOLERANCE).unwrap();
    assert_eq!(verified, Verified { id: "evt_1", timestamp: NOW });
    assert_eq!(x_webhook(&keys, &pairs, BODY, NOW), Ok(NOW));
}

#[test]
fn header_names_have_no_case() {
    let (secret, pairs) = fixture();
    let pairs = pairs.into_iter().map(|(n, v)| (n.to_ascii_uppercase(), v)).collect::<Vec<_>>();
    assert_eq!(standard(std::slice::from_ref(&secret), &pairs, BODY, NOW), Ok(NOW));
    assert_eq!(x_webhook(&[secret], &pairs, BODY, NOW), Ok(NOW));
}

#[test]
fn an_empty_signature_is_refused() {
    // RUSTSEC-2024-0010: comparing only as many bytes as both sides have makes an empty signature fit.
    let (secret, pairs) = fixture();
    for (name, empty) in [("webhook-signature", "v1,"), ("x-webhook-signature", "sha256=")] {
        let pairs = set(&pairs, name, empty);
        let result = if name.starts_with('x') {
            x_webhook(std::slice::from_ref(&secret), &pairs, BODY, NOW)
        } else {
            standard(std::slice::from_ref(&secret), &pairs, BODY, NOW)
        };
        assert_eq!(result, Err(VerifyError::NoMatch), "{empty}");
    }
}

#[test]
fn a_prefix_of_a_signature_is_refused() {
    let (secret, pairs) = fixture();
    let keys = [secret];
    for name in ["webhook-signature", "x-webhook-signature"] {
        let full = value(&pairs, name);
        let cut = set(&pairs, name, &full[..full.len() - 1]);
        let longer = set(&pairs, name, format!("{full}A"));
        for pairs in [cut, longer] {
            let result = if name.starts_with('x') {
                x_webhook(&keys, &pairs, BODY, NOW)
            } else {
                standard(&keys, &pairs, BODY, NOW)
            };
            assert_eq!(result, Err(VerifyError::NoMatch));
        }
    }
}

#[test]
fn without_secrets_nothing_verifies() {
    let (_, pairs) = fixture();
    assert_eq!(standard(&[], &pairs, BODY, NOW), Err(VerifyError::NoKeys));
    assert_eq!(x_webhook(&[], &pairs, BODY, NOW), Err(VerifyError::NoKeys));
}

#[test]
fn a_malformed_entry_does_not_hide_a_valid_one() {
    let (secret, pairs) = fixture();
    let keys = [secret];
    let good = value(&pairs, "webhook-signature");
    for noise in ["garbage", "v1", ",", "v1,***", "v2,abc", ",,,", "v1a,not-base64", ""] {
        let value = format!("{noise} {good} {noise}");
        let pairs = set(&pairs, "webhook-signature", value);
        assert_eq!(standard(&keys, &pairs, BODY, NOW), Ok(NOW), "{noise}");
    }
}

#[test]
fn every_signature_is_checked_with_every_secret() {
    let (old, new) = (Secret::generate(), Secret::generate());
    let signer = Signer::new(&new, std::slice::from_ref(&old), Scheme::Both);
    let pairs = signed(&signer, BODY);
    for keys in [vec![old.clone()], vec![new.clone()], vec![Secret::generate(), old, new]] {
        assert_eq!(standard(&keys, &pairs, BODY, NOW), Ok(NOW));
        assert_eq!(x_webhook(&keys, &pairs, BODY, NOW), Ok(NOW));
    }
    let strangers = [Secret::generate(), Secret::generate()];
    assert_eq!(standard(&strangers, &pairs, BODY, NOW), Err(VerifyError::NoMatch));
    assert_eq!(x_webhook(&strangers, &pairs, BODY, NOW), Err(VerifyError::NoMatch));
}

#[test]
fn after_the_grace_period_the_old_secret_verifies_nothing() {
    let (old, new) = (Secret::generate(), Secret::generate());
    let pairs = signed(&Signer::new(&new, &[], Scheme::Both), BODY);
    let keys = [old];
    assert_eq!(standard(&keys, &pairs, BODY, NOW), Err(VerifyError::NoMatch));
    assert_eq!(x_webhook(&keys, &pairs, BODY, NOW), Err(VerifyError::NoMatch));
}

#[test]
fn unknown_versions_are_refused() {
    let (secret, pairs) = fixture();
    let keys = [secret];
    let good = value(&pairs, "webhook-signature");
    for version in ["v2", "V1", "v01", "v1 ", "", "v1a"] {
        let entry = good.replacen("v1", version, 1);
        let pairs = set(&pairs, "webhook-signature", &entry);
        let refused = standard(&keys, &pairs, BODY, NOW).unwrap_err();
        assert!(
            [VerifyError::UnknownVersion, VerifyError::NoMatch].contains(&refused),
            "{entry}: {refused}"
        );
    }
    let good = value(&pairs, "x-webhook-signature");
    for (from, to) in [("sha256=", "sha1="), ("sha256=", "SHA256="), ("sha256=", "=")] {
        let pairs = set(&pairs, "x-webhook-signature", good.replace(from, to));
        assert_eq!(x_webhook(&keys, &pairs, BODY, NOW), Err(VerifyError::UnknownVersion), "{to}");
    }
}

#[test]
fn signatures_without_any_entry_are_malformed() {
    let (secret, pairs) = fixture();
    let keys = [secret];
    let pairs = set(&set(&pairs, "webhook-signature", "abc"), "x-webhook-signature", "abc");
    assert_eq!(standard(&keys, &pairs, BODY, NOW), Err(VerifyError::MalformedSignature));
    assert_eq!(x_webhook(&keys, &pairs, BODY, NOW), Err(VerifyError::MalformedSignature));
}

#[test]
fn a_public_key_used_as_hmac_key_proves_nothing() {
    let private = PrivateKey::generate();
    let public = private.public();
    let shown = public.to_string();
    let bytes = STANDARD.decode(shown.strip_prefix("whpk_").unwrap()).unwrap();
    let parts: [&[u8]; 5] = [b"evt_1", b".", b"1700000000", b".", BODY];
    for key in [bytes.as_slice(), shown.as_bytes()] {
        let forged = STANDARD.encode(KeyedMac::new(key).digest(&parts));
        for version in ["v1", "v1a"] {
            let pairs = [
                ("webhook-id", "evt_1".to_owned()),
                ("webhook-timestamp", NOW.to_string()),
                ("webhook-signature", format!("{version},{forged}")),
            ];
            let keys = StandardKeys { secrets: &[], public_keys: &[public] };
            let result = verify_standard(keys, from_pairs(&pairs), BODY, NOW, DEFAULT_TOLERANCE);
            let refused = result.unwrap_err();
            assert!(matches!(refused, VerifyError::NoMatch | VerifyError::UnknownVersion));
        }
    }
}

#[test]
fn ed25519_verifies_with_the_public_key_alone() {
    let private = PrivateKey::generate();
    let signer = Signer::new(&Secret::generate(), &[], Scheme::Standard).with_private_key(&private);
    let pairs = signed(&signer, BODY);
    let other = PrivateKey::generate().public();
    let check = |keys: &[PublicKey], body: &[u8]| {
        let keys = StandardKeys { secrets: &[], public_keys: keys };
        verify_standard(keys, from_pairs(&pairs), body, NOW, DEFAULT_TOLERANCE).map(|v| v.timestamp)
    };
    assert_eq!(check(&[other, private.public()], BODY), Ok(NOW));
    assert_eq!(check(&[other], BODY), Err(VerifyError::NoMatch));
    assert_eq!(check(&[private.public()], b"other"), Err(VerifyError::NoMatch));
}

#[test]
fn timestamps_are_parsed_strictly() {
    let (secret, pairs) = fixture();
    let keys = [secret];
    let spellings = [
        "1700000000abc",
        "1700000000.0",
        "+1700000000",
        "-1",
        " 1700000000",
        "1700000000 ",
        "01700000000",
        "1.7e9",
        "0x6553f100",
        "1_700_000_000",
        "１７００００００００",
        "abc",
        "9999999999999999999",
    ];
    for text in spellings {
        for (name, is_x) in [("webhook-timestamp", false), ("x-webhook-timestamp", true)] {
            let pairs = set(&pairs, name, text);
            let result = if is_x {
                x_webhook(&keys, &pairs, BODY, NOW)
            } else {
                standard(&keys, &pairs, BODY, NOW)
            };
            let refused = result.unwrap_err();
            let expected = [VerifyError::MalformedTimestamp, VerifyError::MalformedHeader(name)];
            assert!(expected.contains(&refused), "{text:?}: {refused}");
        }
    }
}

#[test]
fn milliseconds_are_not_seconds() {
    let (secret, pairs) = fixture();
    let pairs = set(&pairs, "webhook-timestamp", format!("{NOW}000"));
    assert_eq!(standard(&[secret], &pairs, BODY, NOW), Err(VerifyError::TimestampTooNew));
}

#[test]
fn the_window_is_five_minutes_both_ways() {
    let (secret, pairs) = fixture();
    let keys = [secret];
    for check in [standard, x_webhook] {
        assert_eq!(check(&keys, &pairs, BODY, NOW + 300), Ok(NOW));
        assert_eq!(check(&keys, &pairs, BODY, NOW + 301), Err(VerifyError::TimestampTooOld));
        assert_eq!(check(&keys, &pairs, BODY, NOW - 300), Ok(NOW));
        assert_eq!(check(&keys, &pairs, BODY, NOW - 301), Err(VerifyError::TimestampTooNew));
        assert_eq!(check(&keys, &pairs, BODY, i64::MAX), Err(VerifyError::TimestampTooOld));
        assert_eq!(check(&keys, &pairs, BODY, i64::MIN), Err(VerifyError::TimestampTooNew));
    }
}

#[test]
fn a_body_parsed_and_written_again_does_not_verify() {
    let (secret, pairs) = fixture();
    let keys = [secret];
    let value: serde_json::Value = serde_json::from_slice(BODY).unwrap();
    let again = serde_json::to_vec(&value).unwrap();
    assert_ne!(again, BODY);
    assert_eq!(standard(&keys, &pairs, &again, NOW), Err(VerifyError::NoMatch));
    assert_eq!(x_webhook(&keys, &pairs, &again, NOW), Err(VerifyError::NoMatch));
}

#[test]
fn bodies_that_are_not_utf8_verify() {
    let secret = Secret::generate();
    let body = [0xff, 0x00, 0xfe, b'.', b'\n'];
    let pairs = signed(&Signer::new(&secret, &[], Scheme::Both), &body);
    let keys = [secret];
    assert_eq!(standard(&keys, &pairs, &body, NOW), Ok(NOW));
    assert_eq!(x_webhook(&keys, &pairs, &body, NOW), Ok(NOW));
}

#[test]
fn borders_between_id_timestamp_and_body_cannot_move() {
    // Signed as id `evt_1`; read as id `evt_1.1700000000`, with a timestamp that was the start of the body.
    let secret = Secret::generate();
    let body = format!("{NOW}.rest");
    let pairs = signed(&Signer::new(&secret, &[], Scheme::Standard), body.as_bytes());
    let moved = set(&pairs, "webhook-id", format!("evt_1.{NOW}"));
    assert_eq!(
        standard(&[secret], &moved, b"rest", NOW),
        Err(VerifyError::MalformedHeader("webhook-id"))
    );
}

#[test]
fn missing_and_broken_headers_are_named() {
    let (secret, pairs) = fixture();
    let keys = [secret];
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let missing = Err(VerifyError::MissingHeader(name));
        assert_eq!(standard(&keys, &without(&pairs, name), BODY, NOW), missing);
        assert_eq!(standard(&keys, &set(&pairs, name, ""), BODY, NOW), missing);
        let broken = Err(VerifyError::MalformedHeader(name));
        assert_eq!(standard(&keys, &set(&pairs, name, [0xff]), BODY, NOW), broken);
        assert_eq!(standard(&keys, &set(&pairs, name, "a\nb"), BODY, NOW), broken);
    }
    for name in ["x-webhook-timestamp", "x-webhook-signature"] {
        let missing = Err(VerifyError::MissingHeader(name));
        assert_eq!(x_webhook(&keys, &without(&pairs, name), BODY, NOW), missing);
    }
    assert_eq!(x_webhook(&keys, &without(&pairs, "x-webhook-id"), BODY, NOW), Ok(NOW));
}

proptest! {
    #[test]
    fn any_body_verifies_and_any_change_does_not(
        body in proptest::collection::vec(any::<u8>(), 0..512),
        at in any::<proptest::sample::Index>(),
        flip in 1_u8..,
    ) {
        let secret = Secret::generate();
        let pairs = signed(&Signer::new(&secret, &[], Scheme::Both), &body);
        let keys = [secret];
        prop_assert_eq!(standard(&keys, &pairs, &body, NOW), Ok(NOW));
        prop_assert_eq!(x_webhook(&keys, &pairs, &body, NOW), Ok(NOW));
        let mut changed = body.clone();
        if changed.is_empty() { changed.push(flip); } else { let at = at.index(changed.len()); changed[at] ^= flip; }
        prop_assert_eq!(standard(&keys, &pairs, &changed, NOW), Err(VerifyError::NoMatch));
        prop_assert_eq!(x_webhook(&keys, &pairs, &changed, NOW), Err(VerifyError::NoMatch));
    }

    #[test]
    fn no_header_makes_verification_panic(
        id in "\\PC{0,40}", timestamp in "\\PC{0,20}", signature in "[v1a, =+/A-Za-z]{0,200}",
    ) {
        let keys = [Secret::generate()];
        let pairs = [
            ("webhook-id", id.as_str()), ("webhook-timestamp", timestamp.as_str()),
            ("webhook-signature", signature.as_str()), ("x-webhook-timestamp", timestamp.as_str()),
            ("x-webhook-signature", signature.as_str()),
        ];
        let standard = verify_standard(&keys, from_pairs(&pairs), BODY, NOW, DEFAULT_TOLERANCE);
        prop_assert!(standard.is_err());
        let x = verify_x_webhook(&keys, from_pairs(&pairs), BODY, NOW, DEFAULT_TOLERANCE);
        prop_assert!(x.is_err());
    }
}
