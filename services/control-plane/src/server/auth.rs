//! Who calls: one check for gRPC and REST, before anything else sees the request.

use std::fmt;

use http::header::AUTHORIZATION;
use http::request::Parts;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A caller that was let in. Handlers find it among the extensions of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// What the caller is called in logs.
    pub name: String,
}

/// Why a caller was not let in. The text is shown to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No `authorization` header, or not of the `Bearer` scheme.
    #[error("credentials are missing; send the header authorization: Bearer <api key>")]
    Missing,
    /// The credentials are not known. Says no more: not whether they were ever valid.
    #[error("the credentials are not valid")]
    Invalid,
}

/// Decides who calls.
#[async_trait::async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Names the caller by the head of its request.
    ///
    /// # Errors
    /// [`Denied`]: the caller gets UNAUTHENTICATED.
    async fn authenticate(&self, request: &Parts) -> Result<Principal, Denied>;
}

/// Lets everyone in: `postrider dev` alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Open;

#[async_trait::async_trait]
impl Authenticator for Open {
    async fn authenticate(&self, _request: &Parts) -> Result<Principal, Denied> {
        Ok(Principal { name: "anyone".to_owned() })
    }
}

/// Lets in who sends one configured token. Keeps only its digest.
#[derive(Clone)]
pub struct StaticToken {
    digest: [u8; 32],
}

impl StaticToken {
    /// Accepts `token` and nothing else.
    ///
    /// # Errors
    /// [`WeakToken`] when it is shorter than 16 bytes or could not be sent in a header.
    pub fn new(token: &str) -> Result<Self, WeakToken> {
        if token.len() < TOKEN_BYTES_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(WeakToken);
        }
        Ok(Self { digest: Sha256::digest(token).into() })
    }
}

/// The shortest token, in bytes: 96 bits in base64.
const TOKEN_BYTES_MIN: usize = 16;

/// A token that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token must be at least {TOKEN_BYTES_MIN} bytes of visible ASCII without blanks")]
pub struct WeakToken;

impl fmt::Debug for StaticToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticToken(***)")
    }
}

#[async_trait::async_trait]
impl Authenticator for StaticToken {
    async fn authenticate(&self, request: &Parts) -> Result<Principal, Denied> {
        let token = bearer(request).ok_or(Denied::Missing)?;
        // Digests have one length, and comparing them tells nothing of the token.
        let digest: [u8; 32] = Sha256::digest(token).into();
        if bool::from(digest.ct_eq(&self.digest)) {
            Ok(Principal { name: "token".to_owned() })
        } else {
            Err(Denied::Invalid)
        }
    }
}

/// The token of an `authorization: Bearer …` header; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(request: &Parts) -> Option<&[u8]> {
    let value = request.headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn try_with(header: Option<&str>) -> Result<Principal, Denied> {
        let mut request = http::Request::builder();
        if let Some(header) = header {
            request = request.header(AUTHORIZATION, header);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        StaticToken::new("a-token-of-enough-bytes").unwrap().authenticate(&parts).await
    }

    #[tokio::test]
    async fn only_the_configured_token_is_let_in() {
        assert!(try_with(Some("Bearer a-token-of-enough-bytes")).await.is_ok());
        assert!(try_with(Some("bearer a-token-of-enough-bytes")).await.is_ok());
        assert_eq!(try_with(None).await, Err(Denied::Missing));
        assert_eq!(try_with(Some("Basic a-token-of-enough-bytes")).await, Err(Denied::Missing));
        for wrong in ["Bearer ", "Bearer a-token-of-enough-byte", "Bearer a-token-of-enough-bytes2"]
        {
            assert_eq!(try_with(Some(wrong)).await, Err(Denied::Invalid), "{wrong}");
        }
    }

    #[test]
    fn weak_tokens_are_refused_and_none_is_shown() {
        assert_eq!(StaticToken::new("short").err(), Some(WeakToken));
        assert_eq!(StaticToken::new("has blanks in the middle").err(), Some(WeakToken));
        assert!(
            !format!("{:?}", StaticToken::new("a-token-of-enough-bytes").unwrap())
                .contains("enough")
        );
    }
}
