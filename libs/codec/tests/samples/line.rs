//! Lines, and what is held in them.

use domain::{Epoch, HeldRow, LaneKey, Line, LineRow, Position, Shard};
use postrider_codec::{decode_held, decode_line, encode_held, encode_line};

use super::{Sample, endpoint, event, time};

pub(super) fn all() -> Vec<Sample> {
    let held = HeldRow { event: event(), key: Line::of_key("order 1"), first_due: time(500) };
    let lane = LaneKey { shard: Shard(3), endpoint: endpoint() };
    let of_key = LineRow {
        lane,
        line: Line::of_key("order 1"),
        epoch: Epoch(4),
        is_open: true,
        from: Position(90_001),
        head: Some(event()),
        after: None,
        waiting: 12,
    };
    let of_lane =
        LineRow { line: Line::LANE, head: None, after: Some(Position(7)), ..of_key.clone() };
    let closed = LineRow { is_open: false, head: None, waiting: 0, ..of_key.clone() };
    let rows = [("line-of-key", of_key), ("line-of-lane", of_lane), ("line-closed", closed)];
    let mut all: Vec<Sample> = rows.into_iter().map(|(name, row)| line(name, row)).collect();
    all.push(Sample::new("held", held, encode_held, decode_held));
    all
}

fn line(name: &str, row: LineRow) -> Sample {
    let (lane, line, epoch) = (row.lane, row.line, row.epoch);
    Sample::new(name, row, encode_line, move |bytes| decode_line(lane, line, epoch, bytes))
}
