//! Reaching the cluster, and refusing what would lose deliveries: a missing keyspace, too few replicas, another schema.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ports::Clock;
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::{
    ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind as Refusal, DbError,
    MetadataError, NewSessionError,
};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::timestamp_generator::MonotonicTimestampGenerator;
use scylla::statement::{Consistency as Level, SerialConsistency};

use crate::cql::{Cql, Traffic};
use crate::error::OpenError;
use crate::schema;
use crate::settings::{Consistency, Settings};
use crate::store::Store;

/// Fewest copies of each row that survive the loss of a node without stopping.
const REPLICAS_MIN: u32 = 3;

/// What asks for the owner of a keyspace.
const WHOSE: &str = "say whose keyspace it is";

/// A connected cluster.
pub struct Scylla {
    store: Arc<Store>,
}

impl Scylla {
    /// Connects, checks keyspace, replicas and schema, and prepares every statement.
    ///
    /// # Errors
    /// [`OpenError`] says in one line what is wrong and what to do.
    pub async fn connect(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let session = session(settings).await?;
        check_datacenter(&session, settings)?;
        let keyspace = &settings.keyspace;
        let replicas = replicas(&session, settings).await?;
        let Some(replicas) = replicas else {
            return Err(OpenError::NoKeyspace { keyspace: keyspace.clone() });
        };
        check_replicas(settings, &replicas)?;
        schema::check(&session, keyspace).await?;
        let cql = Cql::new(session, keyspace.clone());
        let store = Box::pin(Store::prepare(cql, clock)).await?;
        Ok(Self { store: Arc::new(store) })
    }

    /// Makes the keyspace that of an event log, or checks that it is.
    ///
    /// # Errors
    /// [`OpenError::OtherLog`] when it is another one's.
    pub async fn claim(&self, event_log: &str) -> Result<(), OpenError> {
        let owner = self.store.claim(event_log).await;
        let owner = owner.map_err(|error| OpenError::call(WHOSE, &error))?;
        self.is_ours(owner, event_log)
    }

    /// Checks that the keyspace is that of an event log, or nobody's yet. Claims nothing.
    ///
    /// # Errors
    /// [`OpenError::OtherLog`] when it is another one's.
    pub async fn check_owner(&self, event_log: &str) -> Result<(), OpenError> {
        let owner = self.store.owner().await;
        let owner = owner.map_err(|error| OpenError::call(WHOSE, &error))?;
        owner.map_or(Ok(()), |owner| self.is_ours(owner, event_log))
    }

    fn is_ours(&self, owner: String, event_log: &str) -> Result<(), OpenError> {
        if owner == event_log {
            return Ok(());
        }
        let (keyspace, ours) = (self.store.keyspace().to_owned(), event_log.to_owned());
        Err(OpenError::OtherLog { keyspace, owner, ours })
    }

    /// Every store port.
    #[must_use]
    pub fn store(&self) -> Arc<Store> {
        Arc::clone(&self.store)
    }

    /// What went to and came from each table since the connection was made.
    #[must_use]
    pub fn traffic(&self) -> BTreeMap<&'static str, Traffic> {
        self.store.traffic()
    }
}

/// Connects without asking for anything of ours.
pub(crate) async fn session(settings: &Settings) -> Result<Session, OpenError> {
    if !Settings::is_keyspace_name(&settings.keyspace) {
        return Err(OpenError::KeyspaceName(settings.keyspace.clone()));
    }
    let mut builder = SessionBuilder::new()
        .known_nodes(&settings.nodes)
        .default_execution_profile_handle(profile(settings).into_handle())
        // Rows that the same process overwrites (lanes) keep their order, whichever node takes them.
        .timestamp_generator(Arc::new(MonotonicTimestampGenerator::new()))
        .keyspaces_to_fetch([settings.keyspace.to_lowercase()])
        .connection_timeout(settings.timeout)
        .keepalive_interval(Duration::from_secs(10))
        .keepalive_timeout(settings.timeout);
    if let Some((user, password)) = &settings.login {
        builder = builder.user(user, password);
    }
    builder.build().await.map_err(|error| unreachable(settings, &error))
}

fn profile(settings: &Settings) -> ExecutionProfile {
    let (level, serial) = match settings.consistency {
        Consistency::LocalQuorum => (Level::LocalQuorum, SerialConsistency::LocalSerial),
        Consistency::Quorum => (Level::Quorum, SerialConsistency::Serial),
    };
    let mut policy = DefaultPolicy::builder().token_aware(true);
    if let Some(datacenter) = &settings.datacenter {
        policy = policy.prefer_datacenter(datacenter.clone());
    }
    ExecutionProfile::builder()
        .consistency(level)
        .serial_consistency(Some(serial))
        .request_timeout(Some(settings.timeout))
        .load_balancing_policy(policy.build())
        .build()
}

fn unreachable(settings: &Settings, error: &NewSessionError) -> OpenError {
    let nodes = settings.nodes.join(", ");
    if refuses_login(error) {
        let user = settings.login.as_ref().map_or("nobody (none is configured)", |(user, _)| user);
        return OpenError::Login { nodes, user: user.to_owned() };
    }
    OpenError::Unreachable { nodes, reason: error.to_string() }
}

/// Whether a node was reached and said no to the credentials, or wanted some.
fn refuses_login(error: &NewSessionError) -> bool {
    let NewSessionError::MetadataError(MetadataError::ConnectionPoolError(
        ConnectionPoolError::Broken {
            last_connection_error: ConnectionError::ConnectionSetupRequestError(refusal),
        },
    )) = error
    else {
        return false;
    };
    matches!(
        refusal.get_error(),
        Refusal::DbError(DbError::AuthenticationError | DbError::Unauthorized, _)
            | Refusal::MissingAuthentication
            | Refusal::StartAuthSessionError(_)
            | Refusal::AuthChallengeEvaluationError(_)
            | Refusal::AuthFinishError(_)
    )
}

/// Copies of each row by data centre; none when there is no such keyspace.
async fn replicas(
    session: &Session,
    settings: &Settings,
) -> Result<Option<BTreeMap<String, u32>>, OpenError> {
    const REPLICATION: &str =
        "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let failed = |reason: String| OpenError::Statement { what: "read the keyspace", reason };
    let result = session
        .query_unpaged(REPLICATION, (settings.keyspace.to_lowercase(),))
        .await
        .map_err(|error| OpenError::statement("read the keyspace", &settings.keyspace, &error))?;
    let rows = result.into_rows_result().map_err(|error| failed(error.to_string()))?;
    let row: Option<(BTreeMap<String, String>,)> =
        rows.maybe_first_row().map_err(|error| failed(error.to_string()))?;
    let Some((replication,)) = row else {
        return Ok(None);
    };
    let factors = replication.into_iter().filter(|(option, _)| option != "class");
    let parse = |text: &str| text.split('/').next().and_then(|number| number.parse().ok());
    Ok(Some(factors.filter_map(|(option, value)| Some((option, parse(&value)?))).collect()))
}

fn check_replicas(settings: &Settings, replicas: &BTreeMap<String, u32>) -> Result<(), OpenError> {
    // No data centre, or a strategy without copies: nothing is kept, or by one node alone.
    if replicas.values().all(|copies| *copies == 0) {
        return Err(OpenError::NoReplicas { keyspace: settings.keyspace.clone() });
    }
    if settings.allow_few_replicas {
        return Ok(());
    }
    match replicas.iter().find(|(_, copies)| **copies < REPLICAS_MIN) {
        None => Ok(()),
        Some((option, copies)) => Err(OpenError::FewReplicas {
            keyspace: settings.keyspace.clone(),
            replicas: *copies,
            datacenter: if option == "replication_factor" {
                "the cluster".to_owned()
            } else {
                format!("data centre {option}")
            },
        }),
    }
}

/// A data centre without nodes would leave every statement without a place to go. Without one, each statement could ask the quorum of another data centre, which
/// has not seen what was acknowledged in this one.
fn check_datacenter(session: &Session, settings: &Settings) -> Result<(), OpenError> {
    let state = session.get_cluster_state();
    let nodes = state.get_nodes_info().iter();
    let known: BTreeSet<&str> = nodes.filter_map(|node| node.datacenter.as_deref()).collect();
    refuse_datacenter(settings, &known)
}

fn refuse_datacenter(settings: &Settings, known: &BTreeSet<&str>) -> Result<(), OpenError> {
    let names = known.iter().copied().collect::<Vec<_>>().join(", ");
    match &settings.datacenter {
        Some(wanted) if !known.contains(wanted.as_str()) => {
            Err(OpenError::Datacenter { wanted: wanted.clone(), known: names })
        }
        None if known.len() > 1 && settings.consistency == Consistency::LocalQuorum => {
            Err(OpenError::NoDatacenter { known: names })
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_quorum_needs_to_know_where_it_is_local() {
        let mut settings = Settings::new(vec!["127.0.0.1:9042".to_owned()], "postrider");
        let two = BTreeSet::from(["dc1", "dc2"]);
        let error = refuse_datacenter(&settings, &two).expect_err("which one").to_string();
        assert!(error.contains("dc1, dc2") && error.contains("scylla.datacenter"), "{error}");
        assert!(refuse_datacenter(&settings, &BTreeSet::from(["dc1"])).is_ok());
        settings.datacenter = Some("dc2".to_owned());
        assert!(refuse_datacenter(&settings, &two).is_ok());
        settings.datacenter = None;
        settings.consistency = Consistency::Quorum;
        assert!(refuse_datacenter(&settings, &two).is_ok());
    }

    #[test]
    fn fewer_than_three_replicas_are_refused_unless_allowed() {
        let mut settings = Settings::new(vec!["127.0.0.1:9042".to_owned()], "postrider");
        let replicas =
            |copies: u32| BTreeMap::from([("dc1".to_owned(), 3), ("dc2".to_owned(), copies)]);
        assert!(check_replicas(&settings, &replicas(3)).is_ok());
        let error =
            check_replicas(&settings, &replicas(1)).expect_err("one is too few").to_string();
        assert!(
            error.contains("1 replica(s) in data centre dc2")
                && error.contains("allow_few_replicas"),
            "{error}"
        );
        settings.allow_few_replicas = true;
        assert!(check_replicas(&settings, &replicas(1)).is_ok());
    }

    #[test]
    fn no_replicas_at_all_are_refused_always() {
        let mut settings = Settings::new(vec!["127.0.0.1:9042".to_owned()], "orders");
        for allowed in [false, true] {
            settings.allow_few_replicas = allowed;
            for none in [BTreeMap::new(), BTreeMap::from([("dc1".to_owned(), 0)])] {
                let error = check_replicas(&settings, &none).expect_err("none").to_string();
                assert!(error.contains("orders") && error.contains("ALTER KEYSPACE"), "{error}");
            }
        }
    }
}
