//! An HTTP receiver that answers by a script and keeps every request.

mod connections;
mod ledger;
mod script;
mod serve;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

pub use ledger::Request;
pub use script::Reply;

use crate::DEADLINE;
use connections::Connections;
use ledger::Ledger;
use script::Scripts;

/// A server on a loopback port of its own. It answers 200 until it is told otherwise; dropping it closes the port and
/// every connection.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

/// What the connections share with the one who asks.
#[derive(Default)]
struct Shared {
    scripts: Scripts,
    ledger: Ledger,
    connections: Connections,
}

impl Receiver {
    /// Starts a receiver on a free port.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start() -> Result<Self> {
        Self::start_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts a receiver on the address of one that was stopped.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start_on(address: SocketAddr) -> Result<Self> {
        let listener =
            TcpListener::bind(address).await.with_context(|| format!("binding {address}"))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let accepting = tokio::spawn(serve::accept(listener, Arc::clone(&shared)));
        Ok(Self { address, shared, accepting })
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of a path, which starts with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers every path without a script of its own with these replies, one a request in the order of arrival; the
    /// last one repeats. Replaces what it was told before.
    pub fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.shared.scripts.set(None, replies);
    }

    /// As [`Receiver::reply`], for one path.
    pub fn reply_to(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.shared.scripts.set(Some(path), replies);
    }

    /// Returns every request so far, in the order of arrival (when the body was complete).
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.ledger.read(<[Request]>::to_vec)
    }

    /// Returns the requests to one path so far.
    #[must_use]
    pub fn requests_to(&self, path: &str) -> Vec<Request> {
        self.shared.ledger.read(|all| all.iter().filter(|r| r.path == path).cloned().collect())
    }

    /// Returns how often each event arrived so far, by id, whatever was answered.
    #[must_use]
    pub fn count_by_event(&self) -> BTreeMap<String, usize> {
        self.shared.ledger.read(|all| {
            let mut counts = BTreeMap::new();
            for request in all {
                *counts.entry(request.event_id().to_owned()).or_default() += 1;
            }
            counts
        })
    }

    /// Returns how many requests are unanswered at this moment.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.shared.ledger.in_flight()
    }

    /// Returns the number of requests so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.ledger.read(<[Request]>::len)
    }

    /// Waits until `n` requests arrived, without looking at them. Cancel safe.
    ///
    /// # Errors
    /// After [`DEADLINE`].
    pub async fn reaches(&self, n: usize) -> Result<()> {
        let reached = self.shared.ledger.reaches(n);
        timeout(DEADLINE, reached)
            .await
            .map_err(|_| anyhow!("{} of {n} requests arrived within {DEADLINE:?}", self.count()))
    }

    /// Waits until what senders that have gone had sent is among the requests: their connections are read to the end.
    /// Whoever still holds one open is waited for.
    ///
    /// # Errors
    /// When it cannot be reached, or after [`DEADLINE`].
    pub async fn settled(&self) -> Result<()> {
        // Connections are accepted in the order in which they were made: with this one, all before it were.
        let last = TcpStream::connect(self.address).await.context("connecting to the receiver")?;
        let alone = self.shared.connections.are_only_of(last.local_addr()?);
        timeout(DEADLINE, alone)
            .await
            .map_err(|_| anyhow!("connections are still open after {DEADLINE:?}"))
    }

    /// Returns the highest number of requests that were unanswered at one time.
    #[must_use]
    pub fn in_flight_max(&self) -> usize {
        self.shared.ledger.in_flight_max()
    }

    /// Waits until the requests so far satisfy `enough`, and returns them. Cancel safe: it only looks.
    ///
    /// # Errors
    /// After [`DEADLINE`], with `what` and what arrived instead.
    pub async fn wait_for(
        &self,
        what: impl Display,
        enough: impl Fn(&[Request]) -> bool,
    ) -> Result<Vec<Request>> {
        self.wait_within(DEADLINE, what, enough).await
    }

    async fn wait_within(
        &self,
        deadline: Duration,
        what: impl Display,
        enough: impl Fn(&[Request]) -> bool,
    ) -> Result<Vec<Request>> {
        timeout(deadline, self.shared.ledger.wait_for(enough)).await.map_err(|_| {
            let seen: Vec<String> = self.requests().iter().map(ToString::to_string).collect();
            anyhow!(
                "waited {deadline:?} in vain for: {what}; {} arrived:\n{}",
                seen.len(),
                seen.join("\n")
            )
        })
    }

    /// Waits until at least `n` requests arrived, and returns all.
    ///
    /// # Errors
    /// As [`Receiver::wait_for`].
    pub async fn wait_for_count(&self, n: usize) -> Result<Vec<Request>> {
        self.wait_for(format!("{n} requests"), |all| all.len() >= n).await
    }

    /// Waits until an event arrived at least `n` times, and returns its requests.
    ///
    /// # Errors
    /// As [`Receiver::wait_for`].
    pub async fn wait_for_event(&self, id: &str, n: usize) -> Result<Vec<Request>> {
        let of = |all: &[Request]| {
            all.iter().filter(|r| r.event_id() == id).cloned().collect::<Vec<_>>()
        };
        let all = self.wait_for(format!("event {id}, {n} times"), |all| of(all).len() >= n).await?;
        Ok(of(&all))
    }

    /// Closes the port and every connection, and waits until that is done: from then on connections are refused.
    /// Returns the address and what had arrived.
    pub async fn stop(mut self) -> (SocketAddr, Vec<Request>) {
        self.accepting.abort();
        // Ends as cancelled.
        let _ = (&mut self.accepting).await;
        (self.address, self.requests())
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

#[cfg(test)]
mod tests;
