//! Which connections to a receiver are open.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;

use super::Shared;

/// The open connections, in the order in which they were accepted, by who made them.
pub(super) struct Connections(watch::Sender<Open>);

#[derive(Default)]
struct Open {
    accepted: u64,
    peers: BTreeMap<u64, SocketAddr>,
}

impl Default for Connections {
    fn default() -> Self {
        Self(watch::Sender::new(Open::default()))
    }
}

impl Connections {
    /// Waits until this peer's connection is the only one. Cancel safe: it only looks.
    pub(super) async fn are_only_of(&self, peer: SocketAddr) {
        let is_only = |open: &Open| open.peers.values().eq([&peer]);
        // The sender lives in `self`.
        let _ = self.0.subscribe().wait_for(is_only).await;
    }
}

/// A connection, open until this is dropped.
pub(super) struct Connection {
    shared: Arc<Shared>,
    number: u64,
}

impl Connection {
    pub(super) fn enter(shared: Arc<Shared>, peer: SocketAddr) -> Self {
        let mut number = 0;
        shared.connections.0.send_modify(|open| {
            open.accepted += 1;
            number = open.accepted;
            open.peers.insert(number, peer);
        });
        Self { shared, number }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.connections.0.send_modify(|open| {
            open.peers.remove(&self.number);
        });
    }
}
