//! What publishing knows of registered types, read and compiled with as few reads as fresh answers allow.
//!
//! *Dramatis personae.* [`TypesAt`]: a tenant's types that publishing does something about, as of one revision of the tenant or newer; read again when the
//! revision that a call reads is another one (CF-1). [`Compiled`]: schemas by the revision of their *type*, which other changes of the tenant leave alone.
//! Not needed for correctness: that either is kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use domain::{ApiVersion, EventType, Revision, TenantId, TypeEntry, limits};
use tokio::sync::Semaphore;

use super::schema::Schema;
use super::{App, Error};

/// Tenants whose types are kept.
const TENANTS_MAX: usize = 1_024;

/// The types of a tenant that are deprecated or validated.
#[derive(Debug)]
pub(crate) struct TypesAt {
    revision: Revision,
    types: HashMap<EventType, TypeEntry>,
}

impl TypesAt {
    /// The type, if its data is to be checked.
    pub(super) fn validated(&self, event_type: &EventType) -> Option<&TypeEntry> {
        self.types.get(event_type).filter(|entry| entry.validate)
    }

    /// What a publisher should know of the type.
    pub(super) fn warning(&self, event_type: &EventType) -> Option<String> {
        let entry = self.types.get(event_type).filter(|entry| entry.deprecated)?;
        Some(if entry.description.is_empty() {
            format!("{event_type} is deprecated")
        } else {
            format!("{event_type} is deprecated: {}", entry.description)
        })
    }
}

/// A schema as it is known: by its type's revision.
type SchemaKey = (TenantId, EventType, ApiVersion, Revision);

/// What is kept between calls.
pub(crate) struct KnownTypes {
    tenants: Mutex<HashMap<TenantId, Arc<TypesAt>>>,
    compiled: Mutex<Compiled>,
    pub(super) checks: Arc<Semaphore>,
}

#[derive(Default)]
struct Compiled {
    schemas: HashMap<SchemaKey, Arc<Schema>>,
    cost: usize,
}

impl Default for KnownTypes {
    fn default() -> Self {
        Self {
            tenants: Mutex::default(),
            compiled: Mutex::default(),
            checks: Arc::new(Semaphore::new(limits::SCHEMA_CHECKS_AT_ONCE)),
        }
    }
}

impl KnownTypes {
    fn at(&self, tenant: &TenantId, revision: Revision) -> Option<Arc<TypesAt>> {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        tenants.get(tenant).filter(|types| types.revision == revision).cloned()
    }

    fn keep(&self, tenant: &TenantId, types: &Arc<TypesAt>) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= TENANTS_MAX {
            tenants.clear();
        }
        tenants.insert(tenant.clone(), Arc::clone(types));
    }

    fn compiled(&self, key: &SchemaKey) -> Option<Arc<Schema>> {
        let compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        compiled.schemas.get(key).cloned()
    }

    fn keep_compiled(&self, key: SchemaKey, schema: &Arc<Schema>) {
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if compiled.cost + schema.cost() > limits::COMPILED_SCHEMA_BYTES_MAX {
            *compiled = Compiled::default();
        }
        compiled.cost += schema.cost();
        if let Some(same) = compiled.schemas.insert(key, Arc::clone(schema)) {
            compiled.cost -= same.cost();
        }
    }
}

impl App {
    /// The tenant's types that publishing does something about, at a revision that was read before.
    pub(super) async fn known_types(
        &self,
        tenant: &TenantId,
        revision: Revision,
    ) -> Result<Arc<TypesAt>, Error> {
        if let Some(types) = self.types.at(tenant, revision) {
            return Ok(types);
        }
        let entries = self.all_types(tenant).await?.into_iter();
        let entries = entries.filter(|entry| entry.deprecated || entry.validate);
        let types = entries.map(|entry| (entry.event_type.clone(), entry)).collect();
        let types = Arc::new(TypesAt { revision, types });
        self.types.keep(tenant, &types);
        Ok(types)
    }

    /// A tenant's types, in the order of their names.
    pub(super) async fn all_types(&self, tenant: &TenantId) -> Result<Vec<TypeEntry>, Error> {
        let mut all: Vec<TypeEntry> = Vec::new();
        loop {
            let after = all.last().map(|entry| &entry.event_type);
            let page = self.deps.event_types.list(tenant, after, limits::PAGE_MAX).await?;
            let is_last = page.len() < limits::PAGE_MAX;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// The compiled schema of a version of a type. `Ok(None)`: what is stored now has none, or asks for no check any more.
    ///
    /// # Errors
    /// When the store cannot be read. In the value: why the schema cannot be used.
    pub(super) async fn schema_of(
        &self,
        entry: &TypeEntry,
        version: &ApiVersion,
    ) -> Result<Option<Result<Arc<Schema>, String>>, Error> {
        let key =
            |revision| (entry.tenant.clone(), entry.event_type.clone(), version.clone(), revision);
        if let Some(schema) = self.types.compiled(&key(entry.revision)) {
            return Ok(Some(Ok(schema)));
        }
        let stored = self.deps.event_types.get(&entry.tenant, &entry.event_type).await?;
        let Some(stored) = stored.filter(|stored| stored.entry.validate) else {
            return Ok(None);
        };
        let Some(text) = stored.schemas.get(version).cloned() else {
            return Ok(None);
        };
        let compiled = self.blocking(move || Schema::compile(&text)).await?;
        Ok(Some(compiled.map(|schema| {
            let schema = Arc::new(schema);
            self.types.keep_compiled(key(stored.entry.revision), &schema);
            schema
        })))
    }

    /// Runs what computes for long: few at once, and on a thread that may block. Goes on when the caller is gone.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        let turn = Arc::clone(&self.types.checks).acquire_owned().await;
        let ran = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            run()
        });
        ran.await.map_err(|error| {
            let error = ports::Error::new(ports::ErrorKind::Bug, "a check of a schema failed")
                .with_source(error);
            Error::Port(error)
        })
    }
}
