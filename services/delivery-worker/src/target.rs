//! An endpoint made ready for sending: URL, headers, signers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::{EndpointUid, PayloadFormat, SignatureScheme, TenantId, Timestamp};
use ports::{EndpointConfig, HeaderName, KeyError, KeyProvider};
use signing::{Scheme, Secret, Signer};

/// An endpoint made ready for sending.
pub(crate) struct Target {
    pub(crate) url: Arc<str>,
    pub(crate) headers: Vec<(HeaderName, Arc<str>)>,
    pub(crate) timeout: Duration,
    pub(crate) format: PayloadFormat,
    scheme: Scheme,
    /// Newest first, each with the end of its validity.
    secrets: Vec<(Secret, Option<Timestamp>)>,
    /// The signer of the secrets that are live until the given time.
    signer: Mutex<Option<(Timestamp, Arc<Signer>)>>,
}

impl Target {
    /// Opens the endpoint's secrets.
    ///
    /// # Errors
    /// When a secret cannot be opened, or is none.
    pub(crate) async fn prepare(
        config: &EndpointConfig,
        keys: &dyn KeyProvider,
    ) -> Result<Self, KeyError> {
        let endpoint = &config.endpoint;
        let mut secrets = Vec::with_capacity(config.secrets.len());
        for sealed in &config.secrets {
            let context = secret_context(&endpoint.tenant, endpoint.uid, sealed.version);
            let plain = keys.open(&sealed.sealed, &context).await?;
            let text = std::str::from_utf8(&plain).map_err(|_| KeyError::Damaged)?;
            let secret = Secret::parse(text).map_err(|_| KeyError::Damaged)?;
            secrets.push((secret, sealed.not_after));
        }
        Ok(Self { secrets, ..Self::without_secrets(config) })
    }

    /// The endpoint without secrets: nothing can be sent to it.
    pub(crate) fn without_secrets(config: &EndpointConfig) -> Self {
        let endpoint = &config.endpoint;
        let header = |(name, value): (&String, &String)| {
            (HeaderName::Shared(name.as_str().into()), Arc::from(value.as_str()))
        };
        Self {
            url: endpoint.url.as_str().into(),
            headers: endpoint.headers.iter().map(header).collect(),
            timeout: endpoint.policy.timeout,
            format: endpoint.policy.format,
            scheme: match endpoint.policy.signature {
                SignatureScheme::Both => Scheme::Both,
                SignatureScheme::Standard => Scheme::Standard,
                SignatureScheme::XWebhook => Scheme::XWebhook,
            },
            secrets: Vec::new(),
            signer: Mutex::new(None),
        }
    }

    /// The signer of the secrets that are live now; `None` when the endpoint has none.
    pub(crate) fn signer(&self, now: Timestamp) -> Option<Arc<Signer>> {
        let mut cached = self.signer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((until, signer)) = &*cached
            && now < *until
        {
            return Some(signer.clone());
        }
        let is_live = |end: &Option<Timestamp>| end.is_none_or(|end| now < end);
        let mut live = self.secrets.iter().filter(|(_, end)| is_live(end));
        let (current, current_end) = live.next()?;
        let previous: Vec<(Secret, Option<Timestamp>)> = live.cloned().collect();
        let ends = previous.iter().map(|(_, end)| *end).chain([*current_end]).flatten();
        let until = ends.min().unwrap_or(Timestamp::MAX);
        let previous: Vec<Secret> = previous.into_iter().map(|(secret, _)| secret).collect();
        let signer = Arc::new(Signer::new(current, &previous, self.scheme));
        *cached = Some((until, signer.clone()));
        Some(signer)
    }
}

/// What a sealed secret is bound to: `tenant/uid/secret/version` (port `KeyProvider`).
fn secret_context(tenant: &TenantId, uid: EndpointUid, version: u32) -> String {
    format!("{tenant}/{uid}/secret/{version}")
}
