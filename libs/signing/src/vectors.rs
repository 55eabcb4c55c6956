//! Checks `vectors.json` against the signer and both verifiers.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{
    DEFAULT_TOLERANCE, PrivateKey, PublicKey, Scheme, Secret, SignedHeaders, Signer, StandardKeys,
    from_pairs, verify_standard, verify_x_webhook,
};

struct Vector {
    name: String,
    scheme: Scheme,
    secrets: Vec<Secret>,
    private_key: Option<PrivateKey>,
    public_keys: Vec<PublicKey>,
    id: String,
    timestamp: i64,
    body: Vec<u8>,
    headers: Vec<(String, String)>,
}

fn vectors() -> Vec<Vector> {
    let file: Value = serde_json::from_str(include_str!("../vectors.json")).unwrap();
    file["vectors"].as_array().unwrap().iter().map(vector).collect()
}

fn vector(value: &Value) -> Vector {
    let text = |key: &str| value[key].as_str().unwrap().to_owned();
    let mut headers: Vec<_> = value["headers"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    headers.sort();
    let secrets = value["secrets"].as_array().unwrap();
    Vector {
        name: text("name"),
        scheme: match text("scheme").as_str() {
            "both" => Scheme::Both,
            "standard" => Scheme::Standard,
            "x-webhook" => Scheme::XWebhook,
            other => panic!("unknown scheme {other}"),
        },
        secrets: secrets.iter().map(|s| Secret::parse(s.as_str().unwrap()).unwrap()).collect(),
        private_key: value["private_key"].as_str().map(|key| PrivateKey::parse(key).unwrap()),
        public_keys: value["public_key"]
            .as_str()
            .map(|key| PublicKey::parse(key).unwrap())
            .into_iter()
            .collect(),
        id: text("id"),
        timestamp: value["timestamp"].as_i64().unwrap(),
        body: STANDARD.decode(text("body_base64")).unwrap(),
        headers,
    }
}

#[test]
fn signing_gives_the_bytes_of_every_vector() {
    for vector in vectors() {
        let (current, previous) = vector.secrets.split_first().unwrap();
        let mut signer = Signer::new(current, previous, vector.scheme);
        if let Some(key) = &vector.private_key {
            signer = signer.with_private_key(key);
        }
        let mut out = SignedHeaders::new();
        signer.sign(&vector.id, vector.timestamp, &vector.body, &mut out);
        let mut headers: Vec<_> = out.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        headers.sort();
        assert_eq!(headers, vector.headers, "{}", vector.name);
    }
}

#[test]
fn every_vector_verifies_with_each_secret_that_its_scheme_offers() {
    for vector in vectors() {
        for (age, secret) in vector.secrets.iter().enumerate() {
            let keys = std::slice::from_ref(secret);
            let (header, now) = (from_pairs(&vector.headers), vector.timestamp);
            if vector.scheme != Scheme::XWebhook {
                let verified =
                    verify_standard(keys, &header, &vector.body, now, DEFAULT_TOLERANCE).unwrap();
                assert_eq!(verified.id, vector.id);
            }
            if vector.scheme != Scheme::Standard {
                let verified =
                    verify_x_webhook(keys, &header, &vector.body, now, DEFAULT_TOLERANCE);
                // `x-webhook` has room for the current secret and the one before it (spec §5).
                assert_eq!(verified.is_ok(), age < 2, "{} with secret {age}", vector.name);
            }
        }
    }
}

#[test]
fn asymmetric_vectors_verify_with_the_public_key_alone() {
    let mut checked = 0;
    for vector in vectors().iter().filter(|vector| vector.private_key.is_some()) {
        assert_eq!(
            vector.private_key.as_ref().map(PrivateKey::public),
            vector.public_keys.first().copied()
        );
        let keys = StandardKeys { secrets: &[], public_keys: &vector.public_keys };
        let header = from_pairs(&vector.headers);
        verify_standard(keys, header, &vector.body, vector.timestamp, DEFAULT_TOLERANCE).unwrap();
        checked += 1;
    }
    assert!(checked > 0);
}
