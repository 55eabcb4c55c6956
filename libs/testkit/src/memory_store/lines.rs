//! Lines, and what is held in them.

use async_trait::async_trait;
use domain::{EndpointUid, HeldRow, LaneKey, Line, LineRow, Position, Shard};
use ports::LineStore;

use super::MemoryStore;

#[async_trait]
impl LineStore for MemoryStore {
    async fn hold(&self, rows: &[(LaneKey, Line, HeldRow)]) -> ports::Result<()> {
        self.write(|state, _| {
            for (lane, line, row) in rows {
                let held = state.held.entry((*lane, *line)).or_default();
                held.entry(row.event.at.position).or_insert_with(|| row.clone());
            }
        })
    }

    async fn read(
        &self,
        lane: LaneKey,
        line: Line,
        from: Position,
        before: Option<Position>,
        limit: usize,
    ) -> ports::Result<Vec<HeldRow>> {
        self.read(|state, _| {
            let held = state.held.get(&(lane, line)).into_iter();
            let rows = held.flat_map(|held| held.range(from..));
            let rows = rows.take_while(|(at, _)| before.is_none_or(|before| **at < before));
            rows.take(limit).map(|(_, row)| row.clone()).collect()
        })
    }

    async fn save(&self, lines: &[LineRow]) -> ports::Result<()> {
        self.write(|state, _| {
            for line in lines {
                let key = (line.lane.shard, line.lane.endpoint, line.line);
                if state.lines.get(&key).is_some_and(|saved| saved.epoch > line.epoch) {
                    continue;
                }
                if line.is_open {
                    state.lines.insert(key, line.clone());
                } else {
                    state.lines.remove(&key);
                }
            }
        })
    }

    async fn of_shard(
        &self,
        shard: Shard,
        after: Option<(EndpointUid, Line)>,
        limit: usize,
    ) -> ports::Result<Vec<LineRow>> {
        self.read(|state, _| {
            let lines = state.lines.iter().filter(|((of, endpoint, line), _)| {
                *of == shard && after.is_none_or(|after| (*endpoint, *line) > after)
            });
            lines.take(limit).map(|(_, line)| line.clone()).collect()
        })
    }

    async fn forget(&self, lane: LaneKey) -> ports::Result<()> {
        self.write(|state, _| {
            state.lines.retain(|_, line| line.lane != lane);
            state.held.retain(|(of, _), _| *of != lane);
        })
    }
}
