//! `BacklogStore`, `LaneStore`, `InboxStore`.

use std::time::Duration;

use domain::{
    BacklogKey, BacklogRow, BreakerPhase, BreakerState, Command, CommandId, CommandKind, Epoch,
    LaneKey, LaneRow, Position, Shard, Timestamp,
};

use super::StoreFixture;
use super::sample::{backlog_row, command_id, dead_letter, event_ref, key, lane, run, tenant, uid};

/// Runs every contract of `BacklogStore`.
pub async fn backlog_store_suite(fixture: &impl StoreFixture) {
    bl_1_rows_are_durable_and_a_repeat_changes_nothing(fixture).await;
    bl_2_a_page_gives_rows_in_order_and_the_next_due_time(fixture).await;
    bl_3_every_acknowledged_row_is_seen(fixture).await;
    bl_4_only_rows_behind_a_trim_vanish(fixture).await;
    bl_5_lanes_do_not_see_each_others_rows(fixture).await;
}

/// Runs every contract of `LaneStore`.
pub async fn lane_store_suite(fixture: &impl StoreFixture) {
    la_1_the_last_save_wins_unless_its_epoch_is_older(fixture).await;
    la_2_of_shard_gives_every_lane_in_pages(fixture).await;
    la_3_lanes_do_not_expire(fixture).await;
    la_4_remove_leaves_what_a_newer_owner_saved(fixture).await;
}

/// Runs every contract of `InboxStore`.
pub async fn inbox_store_suite(fixture: &impl StoreFixture) {
    in_1_commands_are_durable_and_a_repeat_changes_nothing(fixture).await;
    in_2_pending_commands_come_oldest_first(fixture).await;
    in_3_a_command_that_is_done_is_not_given_again(fixture).await;
    in_4_commands_expire_after_a_day(fixture).await;
}

fn rows(lane: LaneKey, keys: &[(i64, u64)]) -> Vec<(LaneKey, BacklogRow)> {
    let row = |(due, seq): &(i64, u64)| (lane, backlog_row(*due, *seq));
    keys.iter().map(row).collect()
}

/// BL-1: `append` is durable when it returns; appending the same row again changes nothing.
pub async fn bl_1_rows_are_durable_and_a_repeat_changes_nothing(fixture: &impl StoreFixture) {
    let mut test = fixture.fresh().await;
    let appended = rows(lane(1, 1), &[(100, 1), (200, 2)]);
    for _ in 0..2 {
        test.stores().backlog.append(&appended).await.expect("append");
    }
    test.restart().await;
    let page = test
        .stores()
        .backlog
        .page(lane(1, 1), BacklogKey::START, key(1_000, 0), 10)
        .await
        .expect("page");
    assert_eq!(page.rows, [backlog_row(100, 1), backlog_row(200, 2)]);
    assert_eq!(page.next_due, None);
}

/// BL-2: rows with keys in `(after, upto]`, in order, at most `limit`, and the due time of the first row behind those that it gave.
pub async fn bl_2_a_page_gives_rows_in_order_and_the_next_due_time(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let backlog = test.stores().backlog;
    let keys = [(300, 1), (100, 5), (100, 4), (200, 9), (9_000, 2)];
    backlog.append(&rows(lane(1, 1), &keys)).await.expect("append");
    let due = |due| Some(Timestamp::from_millis(due));
    let cases = [
        (
            BacklogKey::START,
            key(300, 1),
            10,
            vec![(100, 4), (100, 5), (200, 9), (300, 1)],
            due(9_000),
        ),
        (BacklogKey::START, key(300, 1), 2, vec![(100, 4), (100, 5)], due(200)),
        (key(100, 4), key(200, 9), 10, vec![(100, 5), (200, 9)], due(300)),
        (key(300, 1), key(8_000, 0), 10, vec![], due(9_000)),
        (key(300, 0), key(300, 0), 10, vec![], due(300)),
        (key(300, 1), BacklogKey::end_of(Timestamp::MAX), 10, vec![(9_000, 2)], None),
        (key(9_000, 2), BacklogKey::end_of(Timestamp::MAX), 10, vec![], None),
        (BacklogKey::START, key(300, 1), 0, vec![], due(100)),
    ];
    for (after, upto, limit, expected, next_due) in cases {
        let page = backlog.page(lane(1, 1), after, upto, limit).await.expect("page");
        let found: Vec<(i64, u64)> =
            page.rows.iter().map(|row| (row.key.due.as_millis(), row.key.seq.0)).collect();
        let case = format!("({after:?}, {upto:?}] limit {limit}");
        assert_eq!(found, expected, "{case}");
        assert_eq!(page.next_due, next_due, "{case}");
    }
}

/// BL-3: every row whose append was acknowledged before the call is seen.
pub async fn bl_3_every_acknowledged_row_is_seen(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let backlog = test.stores().backlog;
    for n in 1..=50 {
        let due = i64::try_from(n).expect("small");
        backlog.append(&rows(lane(1, 1), &[(due, n)])).await.expect("append");
        let page = backlog
            .page(lane(1, 1), BacklogKey::START, BacklogKey::end_of(Timestamp::MAX), 100)
            .await
            .expect("page");
        let last = page.rows.last().map(|row| row.key);
        assert_eq!(last, Some(key(due, n)), "just appended");
    }
}

/// BL-4: rows at or before a trim key may vanish; later ones never do, whatever their age.
pub async fn bl_4_only_rows_behind_a_trim_vanish(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let stores = test.stores();
    let keys: Vec<(i64, u64)> = (1..=20).map(|n| (n, 1)).collect();
    stores.backlog.append(&rows(lane(1, 1), &keys)).await.expect("append");
    stores.backlog.trim(lane(1, 1), key(10, 1)).await.expect("trim");
    // A cursor allows the same as a trim.
    let mut row = LaneRow::new(lane(1, 1), tenant("acme"), Epoch(1));
    row.cursor = key(12, 1);
    stores.lanes.save(&[row]).await.expect("save");
    test.advance(Duration::from_secs(400 * 24 * 3_600));
    test.maintain().await;
    let page = stores
        .backlog
        .page(lane(1, 1), key(12, 1), BacklogKey::end_of(Timestamp::MAX), 100)
        .await
        .expect("page");
    let left: Vec<i64> = page.rows.iter().map(|row| row.key.due.as_millis()).collect();
    assert_eq!(left, (13..=20).collect::<Vec<i64>>());
}

/// BL-5: lanes do not see each other's rows.
pub async fn bl_5_lanes_do_not_see_each_others_rows(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let backlog = test.stores().backlog;
    let lanes = [lane(1, 1), lane(1, 2), lane(2, 1)];
    for (n, lane) in (1..).zip(lanes) {
        backlog.append(&rows(lane, &[(n, 1)])).await.expect("append");
    }
    backlog.trim(lane(1, 2), BacklogKey::end_of(Timestamp::MAX)).await.expect("trim");
    for (n, lane) in (1..).zip([lane(1, 1), lane(2, 1)]) {
        let due = if n == 1 { 1 } else { 3 };
        let page = backlog
            .page(lane, BacklogKey::START, BacklogKey::end_of(Timestamp::MAX), 10)
            .await
            .expect("page");
        assert_eq!(page.rows, [backlog_row(due, 1)], "{lane:?}");
        assert_eq!(page.next_due, None, "{lane:?}");
    }
}

fn full_lane(shard: u16, endpoint: u64, epoch: u32) -> LaneRow {
    LaneRow {
        cursor: key(77, 8),
        breaker: BreakerState {
            failures: 6,
            refusals: 1,
            phase: BreakerPhase::Open {
                since: Timestamp::from_millis(5),
                probes: 3,
                next: Timestamp::from_millis(90),
            },
        },
        skip_from: Some(Position(44)),
        waiting: 12,
        oldest_due: Some(Timestamp::from_millis(1)),
        last_success: None,
        last_failure: Some(Timestamp::from_millis(4)),
        ..LaneRow::new(lane(shard, endpoint), tenant("acme"), Epoch(epoch))
    }
}

/// LA-1: `save` is durable; the last one wins, unless its epoch is older than the stored one.
pub async fn la_1_the_last_save_wins_unless_its_epoch_is_older(fixture: &impl StoreFixture) {
    let mut test = fixture.fresh().await;
    let newer = full_lane(1, 1, 5);
    {
        let lanes = test.stores().lanes;
        lanes.save(&[full_lane(1, 1, 4)]).await.expect("save");
        lanes.save(std::slice::from_ref(&newer)).await.expect("save");
        let older = LaneRow::new(lane(1, 1), tenant("acme"), Epoch(4));
        lanes.save(&[older]).await.expect("save");
    }
    test.restart().await;
    let lanes = test.stores().lanes;
    assert_eq!(lanes.get(lane(1, 1)).await.expect("get"), Some(newer));
    let same_epoch = LaneRow::new(lane(1, 1), tenant("acme"), Epoch(5));
    lanes.save(std::slice::from_ref(&same_epoch)).await.expect("save");
    assert_eq!(lanes.get(lane(1, 1)).await.expect("get"), Some(same_epoch));
    assert_eq!(lanes.get(lane(2, 1)).await.expect("get"), None);
}

/// LA-2: `of_shard` gives every lane of a shard that was saved and not removed, in pages by uid.
pub async fn la_2_of_shard_gives_every_lane_in_pages(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let lanes = test.stores().lanes;
    let saved: Vec<LaneRow> = (0..10).map(|n| full_lane(1, n, 1)).collect();
    lanes.save(&saved).await.expect("save");
    lanes.save(&[full_lane(2, 3, 1)]).await.expect("save");
    lanes.remove(lane(1, 4), Epoch(1)).await.expect("remove");
    lanes.remove(lane(1, 4), Epoch(1)).await.expect("remove again");
    let mut found = Vec::new();
    let mut after = None;
    loop {
        let page = lanes.of_shard(Shard(1), after, 4).await.expect("of_shard");
        assert!(page.len() <= 4, "at most `limit`");
        let Some(last) = page.last() else { break };
        after = Some(last.key.endpoint);
        found.extend(page);
    }
    let expected: Vec<LaneRow> = saved.into_iter().filter(|row| row.key != lane(1, 4)).collect();
    assert_eq!(found, expected);
}

/// LA-3: lanes do not expire.
pub async fn la_3_lanes_do_not_expire(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let lanes = test.stores().lanes;
    lanes.save(&[full_lane(1, 1, 1)]).await.expect("save");
    test.advance(Duration::from_secs(1_000 * 24 * 3_600));
    test.maintain().await;
    assert_eq!(lanes.get(lane(1, 1)).await.expect("get"), Some(full_lane(1, 1, 1)));
}

/// LA-4: `remove` leaves what an owner of a newer epoch saved, also when it is done after that.
pub async fn la_4_remove_leaves_what_a_newer_owner_saved(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let lanes = test.stores().lanes;
    let newer = full_lane(1, 1, 5);
    lanes.save(&[full_lane(1, 1, 4)]).await.expect("save");
    lanes.save(std::slice::from_ref(&newer)).await.expect("save");
    lanes.remove(lane(1, 1), Epoch(4)).await.expect("a former owner removes it");
    assert_eq!(lanes.get(lane(1, 1)).await.expect("get"), Some(newer.clone()));
    assert_eq!(lanes.of_shard(Shard(1), None, 10).await.expect("of_shard"), [newer]);
    lanes.remove(lane(1, 1), Epoch(5)).await.expect("its owner removes it");
    assert_eq!(lanes.get(lane(1, 1)).await.expect("get"), None);
}

fn command(number: u64, time: Timestamp, kind: CommandKind) -> Command {
    Command {
        id: command_id(number, time),
        shard: Shard(1),
        time,
        tenant: tenant("acme"),
        endpoint: uid(1),
        kind,
    }
}

fn all_kinds(now: Timestamp) -> Vec<Command> {
    let event = || event_ref("acme", "evt_1", 4);
    let kinds = [
        CommandKind::Redrive {
            dead_letter: dead_letter(1, "evt_1", 1, now).id,
            event: event(),
            run: run(2),
            by_job: false,
        },
        CommandKind::Replay { event: event(), run: run(7) },
        CommandKind::Resend { event: event(), run: run(3) },
        CommandKind::Test { event: event(), run: run(4) },
        CommandKind::Resume { catch_up: true },
        CommandKind::Cancel { event: event(), runs: vec![run(5), run(6)], redrive: Some(run(6)) },
        CommandKind::Probe,
    ];
    let time = |n: u64| now + Duration::from_millis(n);
    (1..).zip(kinds).map(|(n, kind)| command(n, time(n), kind)).collect()
}

/// IN-1: `send` is durable; sending the same command again changes nothing.
pub async fn in_1_commands_are_durable_and_a_repeat_changes_nothing(fixture: &impl StoreFixture) {
    let mut test = fixture.fresh().await;
    let commands = all_kinds(test.now());
    for _ in 0..2 {
        test.stores().inbox.send(&commands).await.expect("send");
    }
    test.restart().await;
    let pending = test.stores().inbox.pending(Shard(1), 100).await;
    assert_eq!(pending.expect("pending"), commands);
}

/// IN-2: the commands of a shard that are not done, oldest first, at most `limit`.
pub async fn in_2_pending_commands_come_oldest_first(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let inbox = test.stores().inbox;
    let commands = all_kinds(test.now());
    let shuffled: Vec<Command> = commands.iter().rev().cloned().collect();
    inbox.send(&shuffled).await.expect("send");
    let other = Command { shard: Shard(2), ..command(90, test.now(), CommandKind::Probe) };
    inbox.send(&[other]).await.expect("send");
    let pending = inbox.pending(Shard(1), 4).await.expect("pending");
    assert_eq!(Some(pending.as_slice()), commands.get(..4));
}

/// IN-3: after `done` a command is not given again, nor when it is sent again.
pub async fn in_3_a_command_that_is_done_is_not_given_again(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let inbox = test.stores().inbox;
    let commands = all_kinds(test.now());
    inbox.send(&commands).await.expect("send");
    let done: Vec<CommandId> = commands.iter().take(3).map(|command| command.id).collect();
    inbox.done(Shard(1), &done).await.expect("done");
    inbox.done(Shard(1), &done).await.expect("done again");
    inbox.send(&commands).await.expect("send again");
    let pending = inbox.pending(Shard(1), 100).await.expect("pending");
    assert_eq!(Some(pending.as_slice()), commands.get(3..));
}

/// IN-4: commands expire unread after a day.
pub async fn in_4_commands_expire_after_a_day(fixture: &impl StoreFixture) {
    let test = fixture.fresh().await;
    let inbox = test.stores().inbox;
    let old = command(1, test.now(), CommandKind::Probe);
    let young = command(2, test.now() + Duration::from_secs(60), CommandKind::Probe);
    inbox.send(&[old, young.clone()]).await.expect("send");
    test.advance(Duration::from_secs(24 * 3_600));
    for maintained in [false, true] {
        if maintained {
            test.maintain().await;
        }
        let pending = inbox.pending(Shard(1), 10).await.expect("pending");
        assert_eq!(pending, std::slice::from_ref(&young), "maintained: {maintained}");
    }
}
