//! `LineStore`.

use domain::{Epoch, EventRef, HeldRow, LaneKey, Line, LineRow, Position, Shard, Timestamp};

use super::StoreFixture;
use super::sample::{event_ref, lane};

/// Runs every contract of `LineStore`.
pub async fn line_store_suite(fixture: &impl StoreFixture) {
    li_1_held_rows_are_durable_and_a_repeat_changes_nothing(fixture).await;
    li_2_a_part_of_a_line_comes_in_the_order_of_positions(fixture).await;
    li_3_the_last_save_of_a_line_wins_unless_its_epoch_is_older(fixture).await;
    li_4_of_shard_gives_the_open_lines_in_pages(fixture).await;
    li_5_the_lines_of_other_lanes_are_not_forgotten(fixture).await;
}

fn held(key: &str, position: u64) -> HeldRow {
    HeldRow {
        event: event_ref("acme", &format!("evt_{position}"), position),
        key: Line::of_key(key),
        first_due: Timestamp::from_millis(1_700_000_000_000),
    }
}

fn open(lane: LaneKey, line: Line, epoch: u32) -> LineRow {
    LineRow {
        lane,
        line,
        epoch: Epoch(epoch),
        is_open: true,
        from: Position(40),
        head: Some(EventRef { ..event_ref("acme", "evt_39", 39) }),
        after: Some(Position(38)),
        waiting: 7,
    }
}

fn closed(lane: LaneKey, line: Line, epoch: u32) -> LineRow {
    LineRow { is_open: false, ..open(lane, line, epoch) }
}

fn positions(rows: &[HeldRow]) -> Vec<u64> {
    rows.iter().map(|row| row.event.at.position.0).collect()
}

/// LI-1: `hold` is durable when it returns; holding the same row again changes nothing.
pub async fn li_1_held_rows_are_durable_and_a_repeat_changes_nothing(fixture: &impl StoreFixture) {
    let mut test = fixture.fresh().await;
    let line = Line::of_key("a");
    let rows = [(lane(1, 1), line, held("a", 4)), (lane(1, 1), Line::LANE, held("b", 5))];
    for _ in 0..2 {
        test.stores().lines.hold(&rows).await.expect("hold");
    }
    test.restart().await;
    let lines = test.stores().lines;
    let read = lines.read(lane(1, 1), line, Position(0), None, 10).await.expect("read");
    assert_eq!(read, [held("a", 4)]);
    let read = lines.read(lane(1, 1), Line::LANE, Position(0), None, 10).await.expect("read");
    assert_eq!(read, [held("b", 5)], "it knows its key");
    assert_eq!(lines.read(lane(2, 1), line, Position(0), None, 10).await.expect("read"), []);
}

/// LI-2: rows of one line within the bounds, in the order of positions however far apart, at most `limit`.
pub async fn li_2_a_part_of_a_line_comes_in_the_order_of_positions(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let lines = test.stores().lines;
    let line = Line::of_key("a");
    let far = 1 << 30;
    for position in [far, 3, 70_000, 5, 9, 65_536, far + 1] {
        let rows = [(lane(1, 1), line, held("a", position))];
        lines.hold(&rows).await.expect("hold");
    }
    lines.hold(&[(lane(1, 1), Line::of_key("b"), held("b", 4))]).await.expect("hold");
    let read = async |from, before: Option<u64>, limit| {
        let before = before.map(Position);
        let rows = lines.read(lane(1, 1), line, Position(from), before, limit).await;
        positions(&rows.expect("read"))
    };
    assert_eq!(read(0, None, 10).await, [3, 5, 9, 65_536, 70_000, far, far + 1]);
    assert_eq!(read(5, None, 3).await, [5, 9, 65_536], "from 5 on, 3 of them");
    assert_eq!(read(6, Some(70_000), 10).await, [9, 65_536], "before is exclusive");
    assert_eq!(read(5, Some(5), 10).await, [0_u64; 0]);
    assert_eq!(read(70_001, None, 1).await, [far]);
    assert_eq!(read(far + 2, None, 10).await, [0_u64; 0]);
}

/// LI-3: `save` is durable; the last one wins, unless its epoch is older.
pub async fn li_3_the_last_save_of_a_line_wins_unless_its_epoch_is_older(
    fixture: &impl StoreFixture,
) {
    let mut test = fixture.fresh().await;
    let line = Line::of_key("a");
    let last = LineRow { waiting: 9, head: None, after: None, ..open(lane(1, 1), line, 5) };
    {
        let lines = test.stores().lines;
        lines.save(&[open(lane(1, 1), line, 5)]).await.expect("save");
        lines.save(std::slice::from_ref(&last)).await.expect("save");
        lines.save(&[open(lane(1, 1), line, 4)]).await.expect("save");
        lines.save(&[closed(lane(1, 1), line, 4)]).await.expect("save");
    }
    test.restart().await;
    let found = test.stores().lines.of_shard(Shard(1), None, 10).await;
    assert_eq!(found.expect("of_shard"), [last]);
}

/// LI-4: every line of a shard that is open, and no other.
pub async fn li_4_of_shard_gives_the_open_lines_in_pages(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let lines = test.stores().lines;
    let key = |n: u64| Line::of_key(&format!("key-{n}"));
    let mut saved: Vec<LineRow> = (0..6).map(|n| open(lane(1, n / 3), key(n), 2)).collect();
    saved.push(open(lane(1, 1), Line::LANE, 2));
    lines.save(&saved).await.expect("save");
    lines.save(&[open(lane(2, 1), key(1), 2)]).await.expect("save");
    lines.save(&[closed(lane(1, 1), key(4), 2)]).await.expect("save");
    lines.save(&[closed(lane(1, 0), key(1), 3)]).await.expect("a later owner closes it");
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = lines.of_shard(Shard(1), after, 2).await.expect("of_shard");
        assert!(page.len() <= 2, "at most `limit`");
        let Some(last) = page.last() else { break };
        after = Some((last.lane.endpoint, last.line));
        found.extend(page);
    }
    saved.retain(|row| row.line != key(4) && row.line != key(1));
    saved.sort_by_key(|row| (row.lane.endpoint, row.line));
    assert_eq!(found, saved);
}

/// LI-5: other lanes keep what is theirs.
pub async fn li_5_the_lines_of_other_lanes_are_not_forgotten(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let lines = test.stores().lines;
    let line = Line::of_key("a");
    for of in [lane(1, 1), lane(1, 2)] {
        lines.save(&[open(of, line, 1)]).await.expect("save");
        lines.hold(&[(of, line, held("a", 41))]).await.expect("hold");
    }
    lines.forget(lane(1, 1)).await.expect("forget");
    test.maintain().await;
    let found = lines.of_shard(Shard(1), None, 10).await.expect("of_shard");
    assert!(found.contains(&open(lane(1, 2), line, 1)), "{found:?}");
    let read = lines.read(lane(1, 2), line, Position(40), None, 10).await.expect("read");
    assert_eq!(read, [held("a", 41)]);
}
