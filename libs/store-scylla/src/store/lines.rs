//! Lines, and what is held in them: rows are only ever added, and read from where the line is.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use domain::{EndpointUid, Epoch, HeldRow, LaneKey, Line, LineRow, Position, Shard};
use ports::LineStore;
use scylla::response::PagingState;
use uuid::Uuid;

use super::{Store, cql_limit, odd, undecodable};
use crate::cql::{Cql, NewRow, Statement, all};
use crate::error::OpenError;

const LINES: &str = "lines";
const SAVE: &str = "INSERT INTO lines (shard, endpoint, line, epoch, body) VALUES (?, ?, ?, ?, ?)";
const OF_SHARD: &str =
    "SELECT endpoint, line, epoch, body FROM lines WHERE shard = ? AND (endpoint, line) > (?, ?)";
const FIRST_OF_SHARD: &str = "SELECT endpoint, line, epoch, body FROM lines WHERE shard = ?";

const HELD: &str = "held";
const HOLD: &str =
    "INSERT INTO held (endpoint, shard, line, part, position, body) VALUES (?, ?, ?, ?, ?, ?)";
const READ: &str = "SELECT body FROM held
    WHERE endpoint = ? AND shard = ? AND line = ? AND part = ? AND position >= ? AND position < ? LIMIT ?";

const PARTS: &str = "held_parts";
const REGISTER: &str = "INSERT INTO held_parts (endpoint, shard, line, part) VALUES (?, ?, ?, ?)";
const PARTS_FROM: &str = "SELECT part FROM held_parts
    WHERE endpoint = ? AND shard = ? AND line = ? AND part >= ? AND part <= ?";

/// Parts of a line that one read brings: a page seldom spans more.
const PAGE_PARTS: i32 = 16;
/// Positions of one partition are those that differ in so many low bits.
const PART_BITS: u32 = 16;

pub(super) struct Statements {
    save: Statement,
    of_shard: Statement,
    first_of_shard: Statement,
    hold: Statement,
    read: Statement,
    register: Statement,
    parts: Statement,
}

impl Statements {
    pub(super) async fn prepare(cql: &Cql) -> Result<Self, OpenError> {
        Ok(Self {
            save: cql.prepare(LINES, SAVE).await?,
            of_shard: cql.prepare(LINES, OF_SHARD).await?,
            first_of_shard: cql.prepare(LINES, FIRST_OF_SHARD).await?,
            hold: cql.prepare(HELD, HOLD).await?,
            read: cql.prepare(HELD, READ).await?,
            register: cql.prepare(PARTS, REGISTER).await?,
            parts: cql.prepare(PARTS, PARTS_FROM).await?.in_pages_of(PAGE_PARTS),
        })
    }
}

type SavedLine = (Uuid, Vec<u8>, i32, Vec<u8>);

#[async_trait]
impl LineStore for Store {
    async fn hold(&self, rows: &[(LaneKey, Line, HeldRow)]) -> ports::Result<()> {
        let mut partitions: BTreeMap<(LaneKey, Line, i64), Vec<_>> = BTreeMap::new();
        for (lane, line, row) in rows {
            let position = row.event.at.position;
            let body = codec::encode_held(row);
            let bytes = body.len() + 48;
            let (endpoint, shard) = columns(*lane);
            let of_line = line.as_bytes().to_vec();
            let values = (endpoint, shard, of_line, part(position), column(position), body);
            let partition = partitions.entry((*lane, *line, part(position))).or_default();
            partition.push(NewRow { values, bytes });
        }
        // A page that is read after the acknowledgement finds the part.
        let named: BTreeSet<_> = partitions.keys().copied().collect();
        let register = |(lane, line, part): (LaneKey, Line, i64)| {
            let (endpoint, shard) = columns(lane);
            let values = (endpoint, shard, line.as_bytes().to_vec(), part);
            self.cql.write(&self.lines.register, NewRow { values, bytes: 48 })
        };
        all(named.into_iter().map(register)).await?;
        all(partitions.into_values().map(|rows| self.cql.write_partition(&self.lines.hold, rows)))
            .await
    }

    async fn read(
        &self,
        lane: LaneKey,
        line: Line,
        from: Position,
        before: Option<Position>,
        limit: usize,
    ) -> ports::Result<Vec<HeldRow>> {
        let before = before.map_or(i64::MAX, column);
        let (endpoint, shard) = columns(lane);
        let of_line = line.as_bytes().to_vec();
        let mut rows: Vec<HeldRow> = Vec::new();
        let mut next = Some(PagingState::start());
        while let Some(at) = next.take() {
            let bounds = (endpoint, shard, of_line.clone(), part(from), before >> PART_BITS);
            let (parts, more) = self.cql.read_page::<(i64,)>(&self.lines.parts, bounds, at).await?;
            for (part,) in parts {
                let left = cql_limit(limit - rows.len());
                let key = (endpoint, shard, of_line.clone(), part, column(from), before, left);
                let found: Vec<(Vec<u8>,)> = self.cql.read(&self.lines.read, key).await?;
                for (body,) in found {
                    rows.push(codec::decode_held(&body).map_err(undecodable(HELD))?);
                }
                if rows.len() >= limit {
                    return Ok(rows);
                }
            }
            next = more;
        }
        Ok(rows)
    }

    async fn save(&self, lines: &[LineRow]) -> ports::Result<()> {
        // Of two rows of one line the last one wins: written together they would have one timestamp.
        let newest: BTreeMap<(LaneKey, Line, Epoch), &LineRow> =
            lines.iter().map(|row| ((row.lane, row.line, row.epoch), row)).collect();
        let mut shards: BTreeMap<Shard, Vec<_>> = BTreeMap::new();
        for row in newest.into_values() {
            let body = codec::encode_line(row);
            let bytes = body.len() + 48;
            let (endpoint, shard) = columns(row.lane);
            let line = row.line.as_bytes().to_vec();
            let values = (shard, endpoint, line, row.epoch.0.cast_signed(), body);
            shards.entry(row.lane.shard).or_default().push(NewRow { values, bytes });
        }
        all(shards.into_values().map(|rows| self.cql.write_partition(&self.lines.save, rows))).await
    }

    async fn of_shard(
        &self,
        shard: Shard,
        after: Option<(EndpointUid, Line)>,
        limit: usize,
    ) -> ports::Result<Vec<LineRow>> {
        let column = i32::from(shard.0);
        let mut lines: Vec<LineRow> = Vec::new();
        let mut last: Option<(EndpointUid, Line)> = None;
        let mut next = Some(PagingState::start());
        while let Some(at) = next.take() {
            let read = match after {
                Some((endpoint, line)) => {
                    let key = (column, endpoint.uuid(), line.as_bytes().to_vec());
                    self.cql.read_page::<SavedLine>(&self.lines.of_shard, key, at).await
                }
                None => {
                    self.cql.read_page::<SavedLine>(&self.lines.first_of_shard, (column,), at).await
                }
            };
            let (rows, more) = read?;
            for row in rows {
                let line = saved_line(shard, row)?;
                // The first row of a line is its newest epoch's.
                if last.replace((line.lane.endpoint, line.line))
                    == Some((line.lane.endpoint, line.line))
                    || !line.is_open
                {
                    continue;
                }
                lines.push(line);
                if lines.len() == limit {
                    return Ok(lines);
                }
            }
            next = more;
        }
        Ok(lines)
    }

    async fn forget(&self, _lane: LaneKey) -> ports::Result<()> {
        // Lines without a lane are not taken over, and whole windows expire.
        Ok(())
    }
}

fn saved_line(shard: Shard, (endpoint, line, epoch, body): SavedLine) -> ports::Result<LineRow> {
    let lane = LaneKey { shard, endpoint: EndpointUid::from_uuid(endpoint) };
    let line = Line::from_slice(&line).ok_or_else(|| odd(LINES))?;
    let epoch = u32::try_from(epoch).map_err(|_| odd(LINES))?;
    codec::decode_line(lane, line, Epoch(epoch), &body).map_err(undecodable(LINES))
}

fn columns(lane: LaneKey) -> (Uuid, i32) {
    (lane.endpoint.uuid(), i32::from(lane.shard.0))
}

fn column(position: Position) -> i64 {
    position.0.cast_signed()
}

fn part(position: Position) -> i64 {
    column(position) >> PART_BITS
}
