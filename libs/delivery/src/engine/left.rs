//! What a person asked for before this owner came: found once per lane, whatever the endpoint's state and the breaker say.
//!
//! The lane's due rows are read through from its cursor, and only rows that were asked for are kept. One page at a time, in turn with the pages of the
//! backlog proper: an answer names no request, so never two at once.

use domain::{BacklogKey, BacklogRow, LaneKey, Timestamp, WaitReason, limits};

use super::Engine;
use crate::effect::Effect;
use crate::lane::LeftAsked;

impl Engine {
    /// Asks for the next page, unless one of the lane's is on its way.
    pub(super) fn find_left(&mut self, key: LaneKey, now: Timestamp) {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        if let LeftAsked::After(after) = lane.left
            && !lane.backlog.is_reading()
        {
            let upto = BacklogKey::end_of(now);
            lane.left = LeftAsked::Reading(upto);
            let limit = limits::BACKLOG_PAGE_ROWS;
            self.effects.push_back(Effect::ReadBacklog { lane: key, after, upto, limit });
        }
    }

    /// Takes a page of [`Engine::find_left`]. Returns the rows when it was none.
    pub(super) fn take_left(
        &mut self,
        key: LaneKey,
        rows: Vec<BacklogRow>,
    ) -> Option<Vec<BacklogRow>> {
        let Some(lane) = self.lanes.get_mut(&key) else {
            return Some(rows);
        };
        let LeftAsked::Reading(_) = lane.left else {
            return Some(rows);
        };
        let full = rows.len() >= limits::BACKLOG_PAGE_ROWS;
        lane.left = match rows.last() {
            Some(last) if full => LeftAsked::After(last.key),
            Some(_) | None => LeftAsked::Found,
        };
        for row in rows {
            if row.reason == WaitReason::Asked && lane.backlog.claim(row.clone()) {
                lane.to_ask.push_back(row);
            }
        }
        self.look_for_asked(key);
        None
    }
}
