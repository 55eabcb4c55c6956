//! Signing secrets: made, sealed, shown once, rotated (spec §5).
//!
//! A repeat of the call that made a secret (same request id) shows it again: it is the same answer, to a caller who did not get the first one.

use std::time::Duration;

use domain::{Endpoint, EndpointUid, Revision, SealedSecret, TenantId, Timestamp, limits};
use ports::{Applied, EndpointConfig, Expect};
use signing::Secret;

use super::endpoint_state::TRIES_MAX;
use super::endpoints::check_etag;
use super::{App, EndpointName, EndpointView, Error, RequestId, Seed};
use domain::CommandKind;

/// A secret as it is shown to the caller who had it made.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) secret: Secret,
    pub(crate) version: u32,
}

/// A call of `RotateSecret`.
#[derive(Debug)]
pub(crate) struct RotateSecret {
    pub(crate) name: EndpointName,
    /// 0 to [`limits::ROTATION_GRACE_MAX`].
    pub(crate) grace: Duration,
    pub(crate) secret: Option<Secret>,
    pub(crate) etag: String,
    pub(crate) request: Option<RequestId>,
}

impl App {
    /// Makes a new secret current and lets the old ones end after the grace period.
    ///
    /// # Errors
    /// [`Error::TooManySecrets`] when as many as may be are live; [`Error::EtagMismatch`].
    pub(crate) async fn rotate_secret(
        &self,
        call: RotateSecret,
    ) -> Result<(EndpointView, Issued), Error> {
        self.endpoint_config(&call.name).await?;
        let seed = self.seed(&call.name.tenant, call.request.as_ref()).await?;
        let secret = call.secret.clone().unwrap_or_else(Secret::generate);
        for _ in 0..TRIES_MAX {
            let current = self.endpoint_config(&call.name).await?;
            if call.request.is_some()
                && let Some(made) = made_by(&current, seed)
            {
                return self.show(current.clone(), made).await;
            }
            check_etag(&call.name, &call.etag, current.endpoint.revision)?;
            let next = self.rotated(&current, &call, &secret, seed).await?;
            let expect = Expect::At(current.endpoint.revision);
            match self.deps.config.put_endpoint(&next, &[], expect).await? {
                Applied::Done(revision) => return self.rotation_done(next, secret, revision).await,
                Applied::Conflict | Applied::Exists => {}
                Applied::NotFound => return Err(Error::NotFound(call.name.to_string())),
            }
        }
        Err(Error::Contended(call.name.to_string()))
    }

    async fn rotation_done(
        &self,
        mut config: EndpointConfig,
        secret: Secret,
        revision: Revision,
    ) -> Result<(EndpointView, Issued), Error> {
        let (tenant, uid) = (config.endpoint.tenant.clone(), config.endpoint.uid);
        self.hint_tenant(&tenant, revision).await;
        self.send_to_all_shards(&tenant, uid, &CommandKind::Probe).await?;
        config.endpoint.revision = revision;
        let version = config.secrets.first().map_or(0, |secret| secret.version);
        let view = self.view(config).await?;
        Ok((view, Issued { secret, version }))
    }

    async fn rotated(
        &self,
        current: &EndpointConfig,
        call: &RotateSecret,
        secret: &Secret,
        seed: Seed,
    ) -> Result<EndpointConfig, Error> {
        let now = self.deps.clock.now();
        let ends = now + call.grace;
        let old: Vec<SealedSecret> = if call.grace.is_zero() {
            Vec::new()
        } else {
            let live = current.secrets.iter().filter(|old| old.is_live(now));
            live.map(|old| ending(old, ends)).collect()
        };
        if old.len() >= limits::LIVE_SECRETS_MAX {
            return Err(Error::TooManySecrets(call.name.to_string()));
        }
        // Versions are never used again, also those of secrets that are gone: the newest is always kept.
        let newest = current.secrets.iter().map(|secret| secret.version).max();
        let version = newest.unwrap_or(0).saturating_add(1);
        let mut secrets = vec![self.seal(&current.endpoint, secret, version, seed.time()).await?];
        secrets.extend(old);
        let mut endpoint = current.endpoint.clone();
        endpoint.update_time = now;
        Ok(EndpointConfig { endpoint, secrets })
    }

    /// Seals a secret for its place.
    pub(crate) async fn seal(
        &self,
        endpoint: &Endpoint,
        secret: &Secret,
        version: u32,
        time: Timestamp,
    ) -> Result<SealedSecret, Error> {
        let context = seal_context(&endpoint.tenant, endpoint.uid, version);
        let sealed = self.deps.keys.seal(secret.expose().as_bytes(), &context).await?;
        Ok(SealedSecret { version, create_time: time, not_after: None, sealed })
    }

    /// Shows a secret to the repeat of the call that made it.
    async fn show(
        &self,
        config: EndpointConfig,
        version: u32,
    ) -> Result<(EndpointView, Issued), Error> {
        let issued = self.reopen(&config, version).await?;
        let issued = issued.ok_or(ports::KeyError::Damaged)?;
        Ok((self.view(config).await?, issued))
    }

    /// Opens a secret of an endpoint; `None` when it is not kept any more.
    pub(crate) async fn reopen(
        &self,
        config: &EndpointConfig,
        version: u32,
    ) -> Result<Option<Issued>, Error> {
        let found = config.secrets.iter().find(|s| s.version == version);
        let Some(sealed) = found else {
            return Ok(None);
        };
        let context = seal_context(&config.endpoint.tenant, config.endpoint.uid, version);
        let plain = self.deps.keys.open(&sealed.sealed, &context).await?;
        let text = String::from_utf8(plain).map_err(|_| ports::KeyError::Damaged)?;
        let secret = Secret::parse(&text).map_err(|_| ports::KeyError::Damaged)?;
        Ok(Some(Issued { secret, version }))
    }
}

/// What binds a sealed secret to its place: tenant, endpoint uid, field and version.
pub(crate) fn seal_context(tenant: &TenantId, endpoint: EndpointUid, version: u32) -> String {
    format!("{tenant}/{endpoint}/secret/{version}")
}

/// The secret that an earlier call with the same request id made: a secret has the time of its call.
fn made_by(config: &EndpointConfig, seed: Seed) -> Option<u32> {
    config
        .secrets
        .iter()
        .find(|secret| secret.version > 1 && secret.create_time == seed.time())
        .map(|secret| secret.version)
}

/// The secret with an end: never later than the one it had.
fn ending(secret: &SealedSecret, ends: Timestamp) -> SealedSecret {
    let mut secret = secret.clone();
    secret.not_after = Some(secret.not_after.map_or(ends, |old| old.min(ends)));
    secret
}
