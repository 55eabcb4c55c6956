//! A retry that a former owner recorded, and whose row may not lie where this one reads.
//!
//! An attempt that is to be made again is recorded after the row of the next one is durable, and both while the lease holds: so that row lies where the
//! successor, who came later, reads. Unless the former owner took its lease to hold when it did not, as on a machine that was suspended together with its
//! clock: a row whose append was under way then is acknowledged when the machine wakes, behind what the successor has read, and the attempt is recorded. The
//! successor finds the row or the record of that attempt void, and would drop it with the delivery.
//!
//! So whoever drops a former owner's row or record that ends with a retry appends the row of that retry again. A doubled row does nothing, and dies out: those
//! of the own epoch are read by whoever wrote them, and are not written again.

use std::sync::Arc;

use domain::{BacklogRow, Event, EventRef, LaneKey, RunId, Timestamp, Trigger, WaitReason};

use super::settle::Settlement;
use super::{Engine, LoadedDelivery};
use crate::lane::Origin;

/// A delivery that was met again and has nothing left to do where it was met.
pub(super) struct Met<'a> {
    pub(super) event: &'a EventRef,
    pub(super) body: Option<&'a Arc<Event>>,
    pub(super) run: RunId,
    pub(super) trigger: Trigger,
    pub(super) first_due: Timestamp,
    pub(super) origin: Origin,
}

impl Engine {
    /// Appends the row of the retry that a former owner's facts speak of, and hands off what was met once that is durable. Returns whether there is one.
    pub(super) fn renew(&mut self, key: LaneKey, met: &Met<'_>, loaded: &LoadedDelivery) -> bool {
        let Some(due) = loaded.run.retry() else {
            return false;
        };
        let mut write = self.new_write();
        let Some(lane) = self.lanes.get_mut(&key) else {
            return false;
        };
        // A row of the run that is on its way is the retry, or leads to it.
        if !lane.may_have_missed(met.origin) || !lane.active.insert((met.event.at, met.run)) {
            return false;
        }
        let row = BacklogRow {
            key: lane.backlog.issue(due),
            event: met.event.clone(),
            run: met.run,
            number: loaded.run.attempts + 1,
            trigger: met.trigger,
            reason: WaitReason::Schedule,
            first_due: met.first_due,
        };
        let mut settlement = Settlement { lane: Some(key), ..Settlement::default() };
        settlement.appended.push(row.key);
        settlement.done.push(met.origin);
        settlement.ended.push((met.event.at, met.run));
        write.rows.push((key, row));
        let body = met.body.filter(|_| !loaded.stored);
        write.events.extend(body.map(|body| (met.event.clone(), body.clone())));
        if !lane.stored {
            settlement.lane_stored = true;
            write.lanes.extend(self.lane_row(key));
        }
        self.write(write, settlement);
        true
    }
}
