//! Deliveries that ended without success.

use async_trait::async_trait;
use domain::{
    DeadLetter, DeadLetterId, DeadLetterReason, EndpointUid, Resolution, RunId, TenantId, Timestamp,
};

use crate::Result;

/// Dead letters, by endpoint.
///
/// DS-1  `put` is durable when it returns. It replaces the dead letter of the same id and takes back what became of the old one
///       (a redrive that failed), but putting again one whose run was already put changes nothing.
/// DS-2  `list` gives a page of those that are not resolved, newest first, strictly before the key, at most `limit`; one on its way through a redrive is
///       given too.
/// DS-3  `begin_redrive` is compare-and-set: of two at once, one gets `Taken::Ours`, the other `Taken::InProgress`. The same run again is ours again.
/// DS-4  `resolve` takes a dead letter out of lists, but only while the redrive of that run is the newest thing that happened to it.
/// DS-5  Nothing of one tenant is given for another. Dead letters older than the retention are hidden at once.
/// DS-6  One call of `list` reads at most [`DEAD_LETTERS_READ_MAX`](domain::limits::DEAD_LETTERS_READ_MAX) rows of the list, whatever is resolved or filtered
///       out. So a page may hold fewer than `limit`, even none, and still say in `next` where to go on; without `next` there are no more. Each page's `next`
///       is older than the one before.
/// DS-7  Going on from `next` to the end gives every dead letter that stays as it is meanwhile once, and none twice. One that ends anew meanwhile has moved to
///       the front: it may be left out.
#[async_trait]
pub trait DeadLetterStore: Send + Sync + 'static {
    /// Keeps dead letters.
    ///
    /// # Errors
    /// When it is not certain that all are durable; repeat.
    async fn put(&self, letters: &[DeadLetter]) -> Result<()>;

    /// Reads one that is not resolved, with what became of it.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn get(
        &self,
        tenant: &TenantId,
        endpoint: EndpointUid,
        id: DeadLetterId,
    ) -> Result<Option<(DeadLetter, Option<Resolution>)>>;

    /// Lists those of an endpoint, newest first, strictly before `before`: a page, maybe a short one. `limit` is at least 1.
    ///
    /// # Errors
    /// When the store cannot be read.
    async fn list(
        &self,
        endpoint: EndpointUid,
        filter: &DeadLetterFilter,
        before: Option<DeadLetterKey>,
        limit: usize,
    ) -> Result<DeadLetterPage>;

    /// Takes a dead letter up for a redrive.
    ///
    /// # Errors
    /// When it is not certain what happened; repeat with the same run.
    async fn begin_redrive(
        &self,
        tenant: &TenantId,
        endpoint: EndpointUid,
        id: DeadLetterId,
        run: RunId,
    ) -> Result<Taken>;

    /// Takes a dead letter out of lists: its redrive `run` succeeded.
    ///
    /// # Errors
    /// When it is not certain that it is durable; repeat.
    async fn resolve(&self, endpoint: EndpointUid, id: DeadLetterId, run: RunId) -> Result<()>;
}

/// The order of dead letters in lists.
pub type DeadLetterKey = (Timestamp, DeadLetterId);

/// A part of a list of dead letters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeadLetterPage {
    /// Newest first, each with what became of it.
    pub letters: Vec<(DeadLetter, Option<Resolution>)>,
    /// The next page begins strictly before it: everything from there on was looked at. `None` on the last page.
    pub next: Option<DeadLetterKey>,
}

/// Which dead letters to list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeadLetterFilter {
    /// Only those that ended so.
    pub reason: Option<DeadLetterReason>,
    /// Only those at or after this time.
    pub since: Option<Timestamp>,
    /// Only those before this time.
    pub until: Option<Timestamp>,
}

/// How an attempt to take a dead letter up ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Taken {
    /// It is ours; here it is.
    Ours(Box<DeadLetter>),
    /// Another redrive is on its way.
    InProgress,
    /// There is none of this id, or it is resolved.
    NotFound,
}
