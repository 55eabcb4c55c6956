//! `KeyProvider`.

use crate::KeyProvider;

/// Runs every contract of `KeyProvider`.
pub async fn key_provider_suite(keys: &dyn KeyProvider) {
    kp_1_what_was_sealed_opens_and_two_seals_differ(keys).await;
    kp_2_what_was_changed_or_moved_does_not_open(keys).await;
    kp_3_errors_hold_no_key_material(keys).await;
}

const CONTEXT: &str = "acme/endpoint/secret/1";

/// KP-1: `open(seal(plain, context), context)` is `plain`; two seals of the same text differ.
pub async fn kp_1_what_was_sealed_opens_and_two_seals_differ(keys: &dyn KeyProvider) {
    for plain in [&b""[..], b"x", &[0xff; 300]] {
        let one = keys.seal(plain, CONTEXT).await.expect("seal");
        let two = keys.seal(plain, CONTEXT).await.expect("seal");
        assert_ne!(one, two, "two seals differ");
        for sealed in [one, two] {
            assert_eq!(keys.open(&sealed, CONTEXT).await.as_deref(), Ok(plain));
        }
    }
}

/// KP-2: what was changed, cut, or sealed under another context is an error and never a panic.
pub async fn kp_2_what_was_changed_or_moved_does_not_open(keys: &dyn KeyProvider) {
    let sealed = keys.seal(b"secret", CONTEXT).await.expect("seal");
    let other = keys.open(&sealed, "acme/other/secret/1").await;
    assert!(other.is_err(), "another context");
    for n in 0..sealed.len() {
        let mut changed = sealed.to_vec();
        changed.iter_mut().skip(n).take(1).for_each(|byte| *byte ^= 0x40);
        assert!(keys.open(&changed, CONTEXT).await.is_err(), "byte {n} changed");
        let cut: Vec<u8> = sealed.iter().copied().take(n).collect();
        assert!(keys.open(&cut, CONTEXT).await.is_err(), "cut to {n} bytes");
    }
}

/// KP-3: an error holds no key material.
pub async fn kp_3_errors_hold_no_key_material(keys: &dyn KeyProvider) {
    let plain = b"whsec_do-not-show";
    let sealed = keys.seal(plain, CONTEXT).await.expect("seal");
    let error = keys.open(&sealed, "elsewhere").await.expect_err("another context");
    for text in [error.to_string(), format!("{error:?}")] {
        assert!(!text.contains("do-not-show"), "{text}");
    }
}
