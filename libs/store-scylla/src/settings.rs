//! How the cluster is reached.

use std::fmt;
use std::time::Duration;

/// How to reach the cluster, and what is expected of it.
#[derive(Clone)]
pub struct Settings {
    /// `host:port` of some nodes; the others are learnt. At least one.
    pub nodes: Vec<String>,
    /// The keyspace; letters, digits and `_`, 48 characters at most.
    pub keyspace: String,
    /// Name and password, where the cluster wants them.
    pub login: Option<(String, String)>,
    /// The data centre whose nodes are asked, and no others; none: all alike, which `local_quorum` over several data centres does not allow for.
    pub datacenter: Option<String>,
    /// How many replicas answer before a read or write counts; default [`Consistency::LocalQuorum`].
    pub consistency: Consistency,
    /// How long one request may take, 100 ms to 10 s; default 5 s. What is not answered by then may have happened.
    pub timeout: Duration,
    /// Whether a keyspace with fewer than three replicas is accepted: for tests and trials. Default no.
    pub allow_few_replicas: bool,
    /// Replicas of a keyspace that [`migrate`](crate::migrate) has to make; default 3.
    pub replication_factor: u8,
}

impl Settings {
    /// The defaults, for these nodes and this keyspace.
    #[must_use]
    pub fn new(nodes: Vec<String>, keyspace: impl Into<String>) -> Self {
        Self {
            nodes,
            keyspace: keyspace.into(),
            login: None,
            datacenter: None,
            consistency: Consistency::LocalQuorum,
            timeout: Duration::from_secs(5),
            allow_few_replicas: false,
            replication_factor: 3,
        }
    }

    /// Whether a text can name a keyspace: it is a part of statements, so nothing but letters, digits and `_`.
    #[must_use]
    pub fn is_keyspace_name(text: &str) -> bool {
        (1..=48).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("nodes", &self.nodes)
            .field("keyspace", &self.keyspace)
            .field("user", &self.login.as_ref().map(|(user, _)| user))
            .field("datacenter", &self.datacenter)
            .field("consistency", &self.consistency)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// How many replicas answer before a read or write counts. Reads and writes use the same: what was acknowledged is seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Consistency {
    /// Most replicas of the nearest data centre.
    #[default]
    LocalQuorum,
    /// Most replicas of all data centres.
    Quorum,
}

impl Consistency {
    /// The names that the configuration takes.
    pub const NAMES: &'static str = "local_quorum or quorum";

    /// Undoes [`Self::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::LocalQuorum, Self::Quorum]
            .into_iter()
            .find(|consistency| consistency.as_str() == text)
    }

    /// The name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LocalQuorum => "local_quorum",
            Self::Quorum => "quorum",
        }
    }
}
