//! The listener: gRPC with health and reflection, REST, `/healthz`, `/readyz`, `/metrics` and `/openapi.json` on one port.
//!
//! # Theory of operation
//!
//! An accept loop of our own owns every connection as a task, because a graceful shutdown must really end: a peer that
//! never speaks, or never answers GOAWAY, is cut ([`connection`]). Each request goes through [`front`]: pages first, then
//! authentication, then gRPC or REST, under one limit of calls and one timeout. TLS ends before this listener.

mod answer;
mod auth;
mod connection;
mod front;
mod options;
mod readiness;
mod requests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

pub use auth::{Authenticator, Denied, Open, Principal, StaticToken, WeakToken};
pub use options::ServerOptions;
pub use readiness::Readiness;

use crate::rest::{self, Rest};
use crate::telemetry::READY;
use front::Front;
use readiness::HealthService;
use requests::Requests;

/// The package that REST serves.
const PACKAGE: &str = "postrider.api.v1";

/// How long the accept loop rests when the process has no file descriptors or memory for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listener could not be built: a bug in the protos or their generated descriptors.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// An annotation cannot be served.
    #[error(transparent)]
    Rest(#[from] rest::BuildError),
    /// The descriptors do not make a reflection service.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serving ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The listening socket is broken.
    #[error("cannot accept connections any more")]
    Accept(#[source] io::Error),
}

/// The listener of the control-plane, before it serves.
pub struct Server {
    front: Front,
    health: HealthService,
    readiness: watch::Receiver<Readiness>,
    options: ServerOptions,
}

impl Server {
    /// Adds health, reflection (v1 and v1alpha) and REST to `routes`, which hold the services of the API.
    ///
    /// # Errors
    /// [`BuildError`]: the descriptors cannot be served.
    pub fn new(
        routes: Routes,
        readiness: watch::Receiver<Readiness>,
        options: ServerOptions,
    ) -> Result<Self, BuildError> {
        let pool = wire::descriptor_pool();
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(wire::DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        let (health, health_service) = HealthService::new(pool);
        let routes = routes
            .add_service(health_service)
            .add_service(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .prepare();
        let rest = Rest::new(pool, PACKAGE, routes.clone())?;
        let openapi = rest.openapi(pool);
        let requests = Requests::new(pool, PACKAGE, &options.metrics);
        let wants = readiness.clone();
        options.metrics.read_one(&READY, move || if wants.borrow().ready { 1.0 } else { 0.0 });
        let front = Front::new(routes, rest, openapi, requests, readiness.clone(), &options);
        Ok(Self { front, health, readiness, options })
    }

    /// Serves until `shutdown`, then takes no new connections, says that it is not ready, and lets calls finish. Returns at
    /// most `drain_timeout` later, with every task ended: what was still under way then is cut.
    ///
    /// # Errors
    /// [`Error::Accept`] when the socket is broken.
    ///
    /// Cancel safe: dropping it cuts every connection.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), Error> {
        let Self { mut front, health, readiness, options } = self;
        front.shutdown = shutdown.clone();
        let front = Arc::new(front);
        let mut tasks = JoinSet::new();
        tasks.spawn(health.follow(readiness, shutdown.clone()));

        let permits = Arc::new(Semaphore::new(options.connections_max));
        let served = loop {
            tokio::select! {
                () = shutdown.cancelled() => break Ok(()),
                Some(ended) = tasks.join_next() => log_panic(ended),
                accepted = accept(&listener, &permits) => match accepted {
                    Ok(Some((stream, permit))) => {
                        let (front, options, shutdown) = (front.clone(), options.clone(), shutdown.clone());
                        tasks.spawn(async move {
                            connection::run(stream, front, &options, shutdown).await;
                            drop(permit);
                        });
                    }
                    Ok(None) => tokio::time::sleep(ACCEPT_PAUSE).await,
                    Err(error) => break Err(Error::Accept(error)),
                },
            }
        };
        drop(listener);
        drain(tasks, options.drain_timeout).await;
        served
    }
}

/// Accepts one connection once there is a place for it; none when the process lacks the means for one right now.
///
/// Cancel safe: what was not returned was not accepted.
async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<Option<(TcpStream, OwnedSemaphorePermit)>> {
    let permit = permits.clone().acquire_owned().await.map_err(io::Error::other)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return Ok(Some((stream, permit))),
            // The peer left between its handshake and our accept.
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) if is_exhaustion(&error) => {
                tracing::warn!(error = %error, "no means to accept a connection; trying again");
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// ENOMEM, ENFILE, EMFILE, ENOBUFS: they pass when connections end.
fn is_exhaustion(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(12 | 23 | 24 | 105))
        || error.kind() == io::ErrorKind::OutOfMemory
}

/// Waits for the tasks until the deadline, then ends them.
async fn drain(mut tasks: JoinSet<()>, timeout: Duration) {
    let all = async {
        while let Some(ended) = tasks.join_next().await {
            log_panic(ended);
        }
    };
    if tokio::time::timeout(timeout, all).await.is_err() {
        tracing::warn!(
            connections = tasks.len(),
            "calls were still under way at the drain deadline and are cut"
        );
        tasks.shutdown().await;
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(error = %error, "a connection's task panicked");
    }
}

#[cfg(test)]
mod tests;
