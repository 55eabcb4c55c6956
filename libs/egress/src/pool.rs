//! Idle connections, kept with the origin that they lead to.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::unconstrained;
use tokio::time::Instant;

use crate::destination::OriginKey;
use crate::stream::Stream;

/// How much before a receiver's own timeout a connection is let go.
const CLOSE_MARGIN: Duration = Duration::from_secs(1);

/// An open connection, driven by whoever holds it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) sender: SendRequest<Full<Bytes>>,
    pub(crate) driver: Connection<TokioIo<Stream>, Full<Bytes>>,
    /// The driver ended; it must not be polled again.
    pub(crate) ended: bool,
    pub(crate) born: Instant,
}

impl Live {
    /// Lets the connection do what it can without waiting, and says whether it takes another request.
    ///
    /// The waker does nothing: either the caller looks once and decides, or the next holder polls with its own. Unconstrained, because a poll
    /// that is put off for fairness would take a dead connection for a live one.
    pub(crate) fn settle(&mut self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        if !self.ended && pin!(unconstrained(&mut self.driver)).poll(&mut context).is_ready() {
            self.ended = true;
        }
        !self.ended && self.sender.is_ready()
    }
}

/// Bounds of what may idle, shared by all origins of a client.
#[derive(Debug)]
pub(crate) struct IdleLimits {
    pub(crate) idle_timeout: Duration,
    pub(crate) age_max: Duration,
    pub(crate) max: usize,
    pub(crate) per_origin_max: usize,
    pub(crate) idle: AtomicUsize,
}

/// A scheme, host and port, and the connections that idle there.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) key: OriginKey,
    limits: Arc<IdleLimits>,
    idle: Mutex<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    live: Live,
    expires: Instant,
    _place: Place,
}

/// One of the places for idle connections; free again on drop.
#[derive(Debug)]
struct Place(Arc<IdleLimits>);

impl Place {
    fn take(limits: &Arc<IdleLimits>) -> Option<Self> {
        let place = Self(Arc::clone(limits));
        // Counted first, so that a refusal is undone by the drop.
        let before = limits.idle.fetch_add(1, Ordering::Relaxed);
        (before < limits.max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.idle.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Origin {
    pub(crate) fn new(key: OriginKey, limits: Arc<IdleLimits>) -> Self {
        Self { key, limits, idle: Mutex::new(VecDeque::new()) }
    }

    /// Takes the connection that idled shortest and is still alive; dead and expired ones are closed on the way.
    pub(crate) fn take(&self, now: Instant) -> Option<Live> {
        loop {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop_back()?;
            if now < idle.expires && idle.live.settle() {
                return Some(idle.live);
            }
        }
    }

    /// Keeps a connection for the next request, if there is room and it takes one.
    ///
    /// `keep_alive` is how long the receiver says that it keeps the connection. It is let go a little earlier than that: a request that crosses the
    /// receiver's close on the wire would be a failed attempt.
    pub(crate) fn give_back(&self, mut live: Live, keep_alive: Option<Duration>, now: Instant) {
        let idle_timeout = match keep_alive {
            Some(told) => (told - (told / 2).min(CLOSE_MARGIN)).min(self.limits.idle_timeout),
            None => self.limits.idle_timeout,
        };
        let expires = (now + idle_timeout).min(live.born + self.limits.age_max);
        if expires <= now || !live.settle() {
            return;
        }
        let Some(place) = Place::take(&self.limits) else {
            return;
        };
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.limits.per_origin_max {
            idle.push_back(Idle { live, expires, _place: place });
        }
    }

    /// Closes what is too old or dead; returns how many connections are left.
    pub(crate) fn close_expired(&self, now: Instant) -> usize {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain_mut(|idle| now < idle.expires && idle.live.settle());
        idle.len()
    }

    /// How many connections idle and are alive; nothing is closed.
    #[cfg(test)]
    pub(crate) fn alive(&self) -> usize {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.iter_mut().filter_map(|idle| idle.live.settle().then_some(())).count()
    }
}
