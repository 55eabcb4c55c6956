//! Whether events conform to the schemas of their types, where the types ask for it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use domain::{ApiVersion, EventType, TypeEntry};

use super::error::FAULTS_MAX;
use super::known_types::TypesAt;
use super::schema::Schema;
use super::{App, Error, Faults, PublishDraft};

/// A fault of one event: its index in the batch, the field, and what is wrong.
type Fault = (usize, &'static str, String);

/// What one version of a type asks of data.
#[derive(Clone)]
enum Rule {
    /// To conform.
    Schema(Arc<Schema>),
    /// Nothing that could be met: this field is wrong, in these words.
    Refuse(&'static str, String),
    /// Nothing: the type has just been changed to ask for nothing.
    Nothing,
}

impl App {
    /// Checks events, given with their index in the batch.
    ///
    /// # Errors
    /// [`Error::SchemaViolation`] with paths such as `events[3].data`.
    pub(super) async fn check_conformity(
        &self,
        types: &TypesAt,
        drafts: &[(usize, &PublishDraft)],
    ) -> Result<(), Error> {
        let mut rules: HashMap<(&EventType, &ApiVersion), Rule> = HashMap::new();
        let mut faults: Vec<Fault> = Vec::new();
        let mut checks: Vec<(usize, Arc<Schema>, Bytes)> = Vec::new();
        for &(index, draft) in drafts {
            let Some(entry) = types.validated(&draft.event_type) else {
                continue;
            };
            if !draft.content_type.is_json() {
                let given = draft.content_type.as_str();
                let what =
                    format!("{given}: data of {} is checked, and must be JSON", entry.event_type);
                faults.push((index, "content_type", what));
                continue;
            }
            let version = draft.api_version.as_ref().unwrap_or(&self.config.api_version);
            let rule = match rules.get(&(&draft.event_type, version)) {
                Some(rule) => rule.clone(),
                None => {
                    let rule = self.rule(entry, version).await?;
                    rules.insert((&draft.event_type, version), rule.clone());
                    rule
                }
            };
            match rule {
                Rule::Schema(schema) => checks.push((index, schema, draft.data.clone())),
                Rule::Refuse(field, what) => faults.push((index, field, what)),
                Rule::Nothing => {}
            }
        }
        if !checks.is_empty() {
            faults.extend(self.blocking(move || broken(checks)).await?);
        }
        told(faults)
    }

    async fn rule(&self, entry: &TypeEntry, version: &ApiVersion) -> Result<Rule, Error> {
        let event_type = &entry.event_type;
        if !entry.versions.contains_key(version) {
            let there: Vec<&str> = entry.versions.keys().map(ApiVersion::as_str).collect();
            let there = there.join(", ");
            let what = format!("{event_type} has no schema for {version}: allowed are {there}");
            return Ok(Rule::Refuse("api_version", what));
        }
        Ok(match self.schema_of(entry, version).await? {
            None => Rule::Nothing,
            Some(Ok(schema)) => Rule::Schema(schema),
            Some(Err(why)) => {
                Rule::Refuse("data", format!("the schema of {event_type} {version} is {why}"))
            }
        })
    }
}

/// The first faults of data.
fn broken(checks: Vec<(usize, Arc<Schema>, Bytes)>) -> Vec<Fault> {
    let broken = checks
        .into_iter()
        .filter_map(|(index, schema, data)| Some((index, "data", schema.check(&data).err()?)));
    broken.take(FAULTS_MAX).collect()
}

fn told(mut found: Vec<Fault>) -> Result<(), Error> {
    if found.is_empty() {
        return Ok(());
    }
    found.sort_by_key(|(index, _, _)| *index);
    let mut faults = Faults::default();
    for (index, field, what) in found {
        faults.add(format!("events[{index}].{field}"), what);
    }
    Err(Error::SchemaViolation(faults.into_violations()))
}
