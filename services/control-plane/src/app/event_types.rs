//! Registered event types.

use std::sync::Arc;

use domain::{
    EventType, RegisteredType, Revision, Schemas, TenantId, Timestamp, TypeEntry, limits,
};
use ports::{Applied, Expect};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::endpoint_state::TRIES_MAX;
use super::endpoints::check_etag;
use super::page::ListName;
use super::schema::Schema;
use super::{App, Error, EventTypeName, Faults, Page, PageRequest, RequestId, Seed};

/// What a caller may set of an event type; its schemas are compiled by who stores them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EventTypeDraft {
    pub(crate) description: String,
    pub(crate) deprecated: bool,
    pub(crate) validate: bool,
    pub(crate) schemas: Schemas,
}

/// A call of `CreateEventType`.
#[derive(Debug)]
pub(crate) struct CreateEventType {
    pub(crate) name: EventTypeName,
    pub(crate) draft: EventTypeDraft,
    pub(crate) request: Option<RequestId>,
    pub(crate) validate_only: bool,
}

impl EventTypeDraft {
    fn of(registered: &RegisteredType) -> Self {
        let entry = &registered.entry;
        Self {
            description: entry.description.clone(),
            deprecated: entry.deprecated,
            validate: entry.validate,
            schemas: registered.schemas.clone(),
        }
    }

    fn set(self, registered: &mut RegisteredType) {
        registered.entry.description = self.description;
        registered.entry.deprecated = self.deprecated;
        registered.entry.validate = self.validate;
        registered.set_schemas(self.schemas);
    }

    fn made(self, name: &EventTypeName, time: Timestamp) -> RegisteredType {
        let entry = TypeEntry {
            tenant: name.tenant.clone(),
            event_type: name.event_type.clone(),
            description: String::new(),
            deprecated: false,
            validate: false,
            versions: std::collections::BTreeMap::new(),
            create_time: time,
            update_time: time,
            revision: Revision::default(),
        };
        let mut made = RegisteredType { entry, schemas: Schemas::new() };
        self.set(&mut made);
        made
    }
}

/// A function of the tenant, the type and the time of its create: new at each create, and nothing to store.
pub(crate) fn uid_of_type(entry: &TypeEntry) -> Uuid {
    let digest = Sha256::new()
        .chain_update(entry.tenant.as_str())
        .chain_update([0])
        .chain_update(entry.create_time.as_millis().to_be_bytes())
        .chain_update(entry.event_type.as_str())
        .finalize();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

pub(crate) fn name_of_type(entry: &TypeEntry) -> EventTypeName {
    EventTypeName { tenant: entry.tenant.clone(), event_type: entry.event_type.clone() }
}

impl App {
    /// Registers an event type.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::AlreadyExists`], [`Error::QuotaExceeded`].
    pub(crate) async fn create_event_type(
        &self,
        call: CreateEventType,
    ) -> Result<RegisteredType, Error> {
        let CreateEventType { name, draft, request, validate_only } = call;
        self.check_tenant(&name.tenant).await?;
        self.check_schemas(&draft.schemas, &Schemas::new()).await?;
        let seed = if validate_only {
            Seed::new(&*self.deps.clock, &*self.deps.rng)
        } else {
            self.seed(&name.tenant, request.as_ref()).await?
        };
        let is_repeatable = request.is_some();
        let mut made = draft.made(&name, seed.time());
        if let Some(found) = self.find_type(&name).await? {
            return repeated(found, &made, is_repeatable);
        }
        self.check_type_quota(&made.entry, None).await?;
        if validate_only {
            return Ok(made);
        }
        match self.put_type(&name, Some(&made), Expect::Absent).await? {
            Applied::Done(revision) => {
                made.entry.revision = revision;
                Ok(made)
            }
            Applied::Exists | Applied::Conflict => {
                repeated(self.get_event_type(&name).await?, &made, is_repeatable)
            }
            Applied::NotFound => Err(Error::NotFound(format!("tenants/{}", name.tenant))),
        }
    }

    /// Reads one.
    pub(crate) async fn get_event_type(
        &self,
        name: &EventTypeName,
    ) -> Result<RegisteredType, Error> {
        let found = self.find_type(name).await?;
        found.ok_or_else(|| Error::NotFound(name.to_string()))
    }

    /// Lists a tenant's, newest first.
    pub(crate) async fn list_event_types(
        &self,
        tenant: &TenantId,
        page: &PageRequest,
    ) -> Result<Page<TypeEntry>, Error> {
        let list = ListName(&["event types", tenant.as_str()]);
        let after: Option<(i64, String)> = self.open_token(&list, &page.token)?;
        self.check_tenant(tenant).await?;
        let mut all = self.all_types(tenant).await?;
        all.sort_by(|a, b| key_of(b).cmp(&key_of(a)));
        let mut rest = all.into_iter().filter(|entry| {
            after.as_ref().is_none_or(|after| key_of(entry) < (after.0, after.1.as_str()))
        });
        let items: Vec<TypeEntry> = rest.by_ref().take(page.size).collect();
        let next = match (rest.next(), items.last()) {
            (Some(_), Some(last)) => self.make_token(&list, &key_of(last)),
            (None, _) | (_, None) => String::new(),
        };
        Ok(Page { items, next })
    }

    /// Changes one: `change` turns what is set now into what shall be.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::EtagMismatch`], [`Error::QuotaExceeded`].
    pub(crate) async fn update_event_type<F>(
        &self,
        name: &EventTypeName,
        change: F,
        etag: &str,
        (request, validate_only): (Option<&RequestId>, bool),
    ) -> Result<RegisteredType, Error>
    where
        F: Fn(EventTypeDraft) -> Result<EventTypeDraft, Error> + Send + Sync,
    {
        let tenant = &name.tenant;
        self.check_tenant(tenant).await?;
        if !validate_only && self.was_done(tenant, request).await? {
            return self.get_event_type(name).await;
        }
        for _ in 0..TRIES_MAX {
            let mut stored = self.get_event_type(name).await?;
            let old = stored.entry.clone();
            check_etag(name, etag, old.revision)?;
            let before = EventTypeDraft::of(&stored);
            let draft = change(before.clone())?;
            self.check_schemas(&draft.schemas, &before.schemas).await?;
            if draft == before {
                // Nothing is written, so that etag and time stay.
                if !validate_only {
                    self.note_done(tenant, request).await?;
                }
                return Ok(stored);
            }
            draft.set(&mut stored);
            stored.entry.update_time = self.deps.clock.now();
            self.check_type_quota(&stored.entry, Some(&old)).await?;
            if validate_only {
                return Ok(stored);
            }
            match self.put_type(name, Some(&stored), Expect::At(old.revision)).await? {
                Applied::Done(revision) => {
                    stored.entry.revision = revision;
                    self.note_done(tenant, request).await?;
                    return Ok(stored);
                }
                Applied::Conflict | Applied::Exists => {}
                Applied::NotFound => return Err(Error::NotFound(name.to_string())),
            }
        }
        Err(Error::Contended(name.to_string()))
    }

    /// Deletes one. Its events go on, and are checked no more.
    ///
    /// # Errors
    /// [`Error::EtagMismatch`].
    pub(crate) async fn delete_event_type(
        &self,
        name: &EventTypeName,
        etag: &str,
        request: Option<&RequestId>,
    ) -> Result<(), Error> {
        self.check_tenant(&name.tenant).await?;
        if self.was_done(&name.tenant, request).await? {
            return Ok(());
        }
        let found = self.get_event_type(name).await?.entry;
        check_etag(name, etag, found.revision)?;
        let expect = if etag.is_empty() { Expect::Present } else { Expect::At(found.revision) };
        match self.put_type(name, None, expect).await? {
            Applied::Done(_) => self.note_done(&name.tenant, request).await,
            Applied::Conflict | Applied::Exists => Err(Error::EtagMismatch(name.to_string())),
            Applied::NotFound => Err(Error::NotFound(name.to_string())),
        }
    }

    async fn check_tenant(&self, tenant: &TenantId) -> Result<(), Error> {
        let revision = self.revisions.read(&self.deps, tenant).await?;
        revision.map(|_| ()).ok_or_else(|| Error::NotFound(format!("tenants/{tenant}")))
    }

    /// Compiles the schemas that are not among the stored ones.
    async fn check_schemas(&self, schemas: &Schemas, stored: &Schemas) -> Result<(), Error> {
        let new = schemas.iter().filter(|(version, text)| stored.get(*version) != Some(*text));
        let new: Vec<_> = new.map(|(version, text)| (version.clone(), Arc::clone(text))).collect();
        if new.is_empty() {
            return Ok(());
        }
        let compile = move || {
            let mut faults = Faults::default();
            for (version, text) in new {
                faults.check(schema_field(version.as_str()), Schema::compile(&text).map(|_| ()));
            }
            faults.finish()
        };
        self.blocking(compile).await?
    }

    /// Whether there is room for an entry in the place of an old one.
    async fn check_type_quota(
        &self,
        entry: &TypeEntry,
        old: Option<&TypeEntry>,
    ) -> Result<(), Error> {
        let old_bytes = old.map_or(0, TypeEntry::schema_bytes);
        if old.is_some() && entry.schema_bytes() <= old_bytes {
            return Ok(());
        }
        let all = self.all_types(&entry.tenant).await?;
        let exceeded = |max: usize, of| {
            Err(Error::QuotaExceeded { what: format!("tenants/{}", entry.tenant), max, of })
        };
        if old.is_none() && all.len() >= limits::EVENT_TYPES_PER_TENANT_MAX {
            return exceeded(limits::EVENT_TYPES_PER_TENANT_MAX, "event types");
        }
        let bytes: u64 = all.iter().map(TypeEntry::schema_bytes).sum();
        let max = limits::SCHEMA_BYTES_PER_TENANT_MAX;
        if bytes + entry.schema_bytes() > max + old_bytes {
            return exceeded(usize::try_from(max).unwrap_or(usize::MAX), "bytes of schemas");
        }
        Ok(())
    }

    async fn find_type(&self, name: &EventTypeName) -> Result<Option<RegisteredType>, Error> {
        Ok(self.deps.event_types.get(&name.tenant, &name.event_type).await?)
    }

    async fn put_type(
        &self,
        name: &EventTypeName,
        to: Option<&RegisteredType>,
        expect: Expect,
    ) -> Result<Applied, Error> {
        let key: (&TenantId, &EventType) = (&name.tenant, &name.event_type);
        let applied = self.deps.event_types.put(key, to, expect).await?;
        if let Applied::Done(revision) = applied {
            self.hint_tenant(&name.tenant, revision).await;
        }
        Ok(applied)
    }
}

/// The path of a version's schema.
pub(crate) fn schema_field(version: &str) -> String {
    let version: String = version.chars().take(80).collect();
    format!("event_type.schemas[{version:?}]")
}

fn key_of(entry: &TypeEntry) -> (i64, &str) {
    (entry.create_time.as_millis(), entry.event_type.as_str())
}

/// The answer to a create whose type is registered: the same again when a call with the same request id did it, which its time tells.
fn repeated(
    found: RegisteredType,
    ours: &RegisteredType,
    is_repeatable: bool,
) -> Result<RegisteredType, Error> {
    if !is_repeatable || found.entry.create_time != ours.entry.create_time {
        return Err(Error::AlreadyExists(name_of_type(&ours.entry).to_string()));
    }
    Ok(found)
}
