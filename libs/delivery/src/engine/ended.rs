//! Looks that are too old: a run that ended after a look into the store began may not be judged by what that look saw.

use std::collections::{BTreeMap, VecDeque};

use domain::{LaneKey, LogPosition, RunId};

use crate::effect::LoadToken;

/// One run in one lane.
pub(super) type Run = (LaneKey, LogPosition, RunId);

/// Runs that ended while looks were under way. Holds no more than ended since the oldest of those began.
#[derive(Debug, Default)]
pub(super) struct Ended {
    /// The newest token that was given out when the run ended last.
    by_run: BTreeMap<Run, u64>,
    in_order: VecDeque<(u64, Run)>,
}

impl Ended {
    /// A run has ended, durably; tokens up to `newest` have been given out.
    pub(super) fn note(&mut self, run: Run, newest: u64) {
        self.by_run.insert(run, newest);
        self.in_order.push_back((newest, run));
    }

    /// Whether the run ended after this look began.
    pub(super) fn is_after(&self, look: LoadToken, run: Run) -> bool {
        self.by_run.get(&run).is_some_and(|newest| look.0 <= *newest)
    }

    /// Forgets what ended before the oldest look that is under way began (`None`: none is).
    pub(super) fn forget(&mut self, oldest: Option<LoadToken>) {
        while let Some((newest, run)) = self.in_order.front().copied()
            && oldest.is_none_or(|oldest| newest < oldest.0)
        {
            self.in_order.pop_front();
            if self.by_run.get(&run) == Some(&newest) {
                self.by_run.remove(&run);
            }
        }
    }
}
