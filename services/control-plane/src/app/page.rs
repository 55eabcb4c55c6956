//! Pages of lists, and the tokens between them.
//!
//! A token is `base64url(MAC, key)`: the key of the last item, authenticated together with the list that it is from (tenant, parent, filter), so that a
//! token works for its own list alone and nothing in it is trusted before the MAC is checked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use domain::limits;
use hmac::{Hmac, KeyInit, Mac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

use super::{App, Violation};

/// Bytes of the MAC that a token carries.
const MAC_BYTES: usize = 16;
/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Which page a caller wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PageRequest {
    /// 1 to [`limits::PAGE_MAX`].
    pub(crate) size: usize,
    /// As given; empty for the first page.
    pub(crate) token: String,
}

impl PageRequest {
    /// Reads a size (0 is the default, more than the most is the most) and a token.
    pub(crate) fn parse(size: i32, token: String) -> Result<Self, Violation> {
        let size = usize::try_from(size).map_err(|_| {
            Violation::new(
                "page_size",
                format!("{size} is negative: allowed are 0 to {}", limits::PAGE_MAX),
            )
        })?;
        let size = match size {
            0 => limits::PAGE_DEFAULT,
            size => size.min(limits::PAGE_MAX),
        };
        Ok(Self { size, token })
    }
}

/// A part of a list.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Empty on the last page.
    pub(crate) next: String,
}

/// Names one list: its kind, parent and filters.
pub(crate) struct ListName<'l>(pub(crate) &'l [&'l str]);

impl App {
    /// The key that the page begins after; `None` for the first page.
    pub(crate) fn open_token<K: DeserializeOwned>(
        &self,
        list: &ListName<'_>,
        token: &str,
    ) -> Result<Option<K>, Violation> {
        if token.is_empty() {
            return Ok(None);
        }
        let fault = || {
            Violation::new(
                "page_token",
                "not a token of this list: take the one that the page before gave, with the same parent and filters",
            )
        };
        if token.len() > TOKEN_BYTES_MAX {
            return Err(fault());
        }
        let bytes = BASE64.decode(token).map_err(|_| fault())?;
        let (given, key) = bytes.split_at_checked(MAC_BYTES).ok_or_else(fault)?;
        self.token_mac(list, key).verify_truncated_left(given).map_err(|_| fault())?;
        serde_json::from_slice(key).map(Some).map_err(|_| fault())
    }

    /// The token of the page that begins after `key`.
    pub(crate) fn make_token<K: Serialize>(&self, list: &ListName<'_>, key: &K) -> String {
        let key = serde_json::to_vec(key).expect("keys are numbers and texts");
        let mac = self.token_mac(list, &key).finalize().into_bytes();
        let mut bytes: Vec<u8> = mac.iter().take(MAC_BYTES).copied().collect();
        bytes.extend_from_slice(&key);
        BASE64.encode(bytes)
    }

    fn token_mac(&self, list: &ListName<'_>, key: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.deps.page_token_key)
            .expect("HMAC takes keys of any length");
        for part in list.0.iter().map(|part| part.as_bytes()).chain([key]) {
            // Lengths keep the borders between parts.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}
