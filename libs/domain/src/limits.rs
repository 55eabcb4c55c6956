//! Every bound of the system, a sentence each. A number here is a decision; what a user may change is in the configuration instead.

use std::time::Duration;

/// Largest event body, in bytes, unless the operator sets another (spec §2).
pub const EVENT_BODY_BYTES_MAX: usize = 256 * 1024;
/// Largest event type, in bytes.
pub const EVENT_TYPE_BYTES_MAX: usize = 256;
/// Most events in one publish call.
pub const PUBLISH_BATCH_MAX: usize = 1_000;
/// Most bytes in one publish call, data of all events together.
pub const PUBLISH_BATCH_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Longest ordering or idempotency key, in bytes.
pub const KEY_BYTES_MAX: usize = 256;
/// Most channels of one event or subscription.
pub const CHANNELS_MAX: usize = 10;
/// Longest channel name, in bytes.
pub const CHANNEL_BYTES_MAX: usize = 128;
/// Longest `api_version`, in bytes.
pub const API_VERSION_BYTES_MAX: usize = 32;
/// Farthest a scheduled delivery may lie ahead (spec §3).
pub const DELIVER_TIME_AHEAD_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Most event types that a tenant registers: their entries, of at most 5 KB, are read whole when one of them changed.
pub const EVENT_TYPES_PER_TENANT_MAX: usize = 1_000;
/// Most versions of an event type that have a schema.
pub const SCHEMA_VERSIONS_MAX: usize = 32;
/// Largest JSON Schema, in bytes of its text.
pub const SCHEMA_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of all schemas of one tenant: they lie in one partition of the cluster's store.
pub const SCHEMA_BYTES_PER_TENANT_MAX: u64 = 64 * 1024 * 1024;
/// Deepest nesting of a JSON Schema, references followed: compiling and checking go down by recursion.
pub const SCHEMA_DEPTH_MAX: usize = 64;
/// Most subschemas of a JSON Schema and values of its enumerations, references followed: checking a value costs at most their number times the value's.
pub const SCHEMA_NODES_MAX: usize = 2_000;
/// Most `unevaluatedProperties` and `unevaluatedItems` of a JSON Schema, references followed: nested ones may double the work each.
pub const SCHEMA_UNEVALUATED_MAX: usize = 8;
/// Most regular expressions of a JSON Schema, references followed.
pub const SCHEMA_PATTERNS_MAX: usize = 64;
/// Largest compiled form of a regular expression in a JSON Schema, in bytes, and as much again while it matches; matching is linear in the text.
pub const SCHEMA_PATTERN_BYTES_MAX: usize = 256 * 1024;
/// Most memory for schemas that are kept compiled, counted by what each may take at most.
pub const COMPILED_SCHEMA_BYTES_MAX: usize = 128 * 1024 * 1024;
/// Calls of one process whose events are checked by schemas at the same time; others wait.
pub const SCHEMA_CHECKS_AT_ONCE: usize = 4;
/// Longest part of a message that comes from a schema or from data, in characters.
pub const QUOTE_CHARS_MAX: usize = 200;
/// How long an idempotency key is remembered (spec §2).
pub const IDEMPOTENCY_TTL: Duration = Duration::from_secs(24 * 3_600);

/// Longest endpoint URL, in bytes (`reliability.md` §2.5).
pub const URL_BYTES_MAX: usize = 2_048;
/// Most custom headers of an endpoint.
pub const CUSTOM_HEADERS_MAX: usize = 30;
/// Longest value of a custom header, in bytes.
pub const HEADER_VALUE_BYTES_MAX: usize = 4_096;
/// Longest display name or description, in characters.
pub const TEXT_CHARS_MAX: usize = 1_000;
/// Most labels of a resource.
pub const LABELS_MAX: usize = 64;
/// Most subscriptions of one endpoint.
pub const SUBSCRIPTIONS_MAX: usize = 100;
/// Most event type patterns of one subscription.
pub const PATTERNS_MAX: usize = 100;
/// Longest filter of a subscription.
pub const FILTER_BYTES_MAX: usize = 1_024;
/// Most endpoints of one tenant, unless the operator sets another.
pub const ENDPOINTS_PER_TENANT_MAX: usize = 10_000;

/// Default and longest total time of one attempt (spec §6: 30 s).
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Shortest timeout that can be set.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// Longest timeout that can be set.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Most steps of a retry schedule (spec §3).
pub const RETRY_STEPS_MAX: usize = 20;
/// Shortest step of a retry schedule (spec §3).
pub const RETRY_STEP_MIN: Duration = Duration::from_millis(100);
/// Longest step of a retry schedule (spec §3).
pub const RETRY_STEP_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Longest sum of a retry schedule's steps (spec §3).
pub const RETRY_SUM_MAX: Duration = Duration::from_secs(6 * 24 * 3_600);
/// Longest `Retry-After` that is honoured (spec §6).
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Longest that a `Retry-After` holds the whole lane (spec §3).
pub const LANE_HOLD_MAX: Duration = Duration::from_secs(5 * 60);
/// Default bound of attempts in flight to one endpoint (`performance.md` §3.3).
pub const CONCURRENCY_DEFAULT: u32 = 64;
/// Largest bound of attempts in flight that can be set.
pub const CONCURRENCY_MAX: u32 = 1_000;
/// Most answers of 401, 403, 404 or 410 in a row before an endpoint is disabled that can be set.
pub const DISABLE_AFTER_MAX: u32 = 100;

/// Consecutive failures that open the breaker (spec §3).
pub const BREAKER_FAILURES: u32 = 5;
/// Consecutive failures that disable an endpoint (spec §3).
pub const DISABLE_FAILURES: u32 = 10;
/// Shortest pace of an open breaker (spec §3).
pub const BREAKER_PACE_MIN: Duration = Duration::from_millis(100);
/// Longest pace of an open breaker, and the pace of probes to a disabled endpoint (spec §3).
pub const BREAKER_PACE_MAX: Duration = Duration::from_secs(5 * 60);
/// Pace of probes once an endpoint has been disabled for [`PROBE_SLOW_AFTER`] (spec §3).
pub const PROBE_SLOW_PACE: Duration = Duration::from_secs(3_600);
/// When probes slow down (spec §3).
pub const PROBE_SLOW_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// When probes end (spec §3).
pub const PROBE_END: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long a delivery may wait past its first due time before it becomes a dead letter, `expired` (spec §3).
pub const EXPIRY: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How often what has waited for too long is looked for, and lanes that remember nothing are forgotten (`architecture.md` §3).
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(3_600);
/// Wait before a sweep that has not come to its end goes on: long enough for the store to take what it led to.
pub const SWEEP_STEP: Duration = Duration::from_secs(1);
/// Rows that one step of a sweep looks at: a bound of bodies in memory and of what the store is asked at once.
pub const SWEEP_ROWS_MAX: usize = 1_024;
/// How long a lane with nothing to remember is kept: longer than the store of a cluster keeps backlog rows (17 days), since a lane that begins anew reads from
/// the start, and would read every row that was handed off before.
pub const LANE_KEPT_IDLE: Duration = Duration::from_secs(18 * 24 * 3_600);

/// Most deliveries in a lane's memory queue (`performance.md` §3.3).
pub const LANE_QUEUE_MAX: usize = 256;
/// Most bytes in a lane's memory queue (`performance.md` §3.3).
pub const LANE_QUEUE_BYTES_MAX: usize = 1024 * 1024;
/// Longest that a delivery waits in a lane's memory queue before it goes to the backlog (`architecture.md` §4).
pub const LANE_QUEUE_WAIT_MAX: Duration = Duration::from_secs(5);
/// Ordering keys of one shard that may have a line of their own: those with a delivery that waits for a retry, or that is about to have its turn. Beyond it
/// events wait in their lane's own line, which is read in pages: about 200 bytes of memory each.
pub const LINES_MAX: usize = 10_000;
/// Deliveries of a lane's own line that have their turn at a time, each the first of its key.
pub const LINE_AHEAD_MAX: usize = 64;
/// Backlog rows that are read at once.
pub const BACKLOG_PAGE_ROWS: usize = 256;
/// Records between the acked position and the reader (`architecture.md` §5).
pub const SPAN_RECORDS_MAX: usize = 10_000;
/// Bytes between the acked position and the reader (`architecture.md` §5).
pub const SPAN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Age of the oldest record that is not handed off; older ones get a backlog row (`architecture.md` §5).
pub const SPAN_AGE_MAX: Duration = Duration::from_secs(45);
/// Attempts in flight in one worker, unless the operator sets another (`performance.md` §2.1).
pub const IN_FLIGHT_DEFAULT: usize = 1_024;
/// Endpoints (with their subscriptions) in a worker's cache of tenants' configuration, each tenant counting as one more: about 1 KB each. A tenant above it
/// is loaded again when it is used.
pub const CACHED_ENDPOINTS_MAX: usize = 200_000;
/// Attempts in flight, and outcomes that are not durable yet, together: so many times the most in flight. After a crash all of them may be sent again.
pub const UNWRITTEN_FACTOR: usize = 2;
/// An endpoint whose answers take longer than this on average is a slow one (`architecture.md` §4).
pub const SLOW_LANE: Duration = Duration::from_secs(1);
/// While others wait for a place, slow endpoints hold together at most this fraction of all places (`architecture.md` §4).
pub const SLOW_TOGETHER_SHARE: usize = 5;
/// And one of them at most this fraction (`architecture.md` §4).
pub const SLOW_ALONE_SHARE: usize = 20;
/// While nobody waits, slow endpoints may hold more, but leave this fraction of all places to whoever comes.
pub const PLACES_KEPT_SHARE: usize = 4;

/// Endpoints that have answered or failed within [`EGRESS_WINDOW`] before anything is concluded about our own network (`architecture.md` §6).
pub const EGRESS_ENDPOINTS_MIN: usize = 20;
/// How long an endpoint's last outcome says something about our own network (`architecture.md` §6).
pub const EGRESS_WINDOW: Duration = Duration::from_secs(60);

/// Bytes of an answer's body that are kept when the attempt failed (spec §7).
pub const EXCERPT_FAILURE_BYTES: usize = 16 * 1024;
/// Bytes of an answer's body that are kept when the attempt succeeded (`architecture.md` §3).
pub const EXCERPT_SUCCESS_BYTES: usize = 1024;

/// Grace period of a rotated secret (spec §5).
pub const ROTATION_GRACE_DEFAULT: Duration = Duration::from_secs(24 * 3_600);
/// Longest grace period of a rotated secret (spec §5).
pub const ROTATION_GRACE_MAX: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Most secrets of an endpoint that are valid at once (spec §5).
pub const LIVE_SECRETS_MAX: usize = 5;

/// Items in a list's page when the caller does not say (style §9).
pub const PAGE_DEFAULT: usize = 50;
/// Most items in a list's page (style §9).
pub const PAGE_MAX: usize = 1_000;
/// Dead letters that a store reads for one page of an endpoint's list, those that are resolved or filtered out too: several times [`PAGE_MAX`], so that a
/// full page is the rule, and few enough for one call.
pub const DEAD_LETTERS_READ_MAX: usize = 5_000;

/// How long the log keeps records (spec §9).
pub const LOG_RETENTION: Duration = Duration::from_secs(8 * 24 * 3_600);
/// How long attempts are kept (spec §9).
pub const ATTEMPT_RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);
/// How long jobs are kept: as long as the attempts that they led to.
pub const JOB_RETENTION: Duration = ATTEMPT_RETENTION;
/// Deliveries that a job keeps waiting ahead of live traffic (`architecture.md` §7).
pub const JOB_AHEAD_MAX: usize = 1_000;
/// Most jobs of one tenant that have not ended.
pub const OPEN_JOBS_PER_TENANT_MAX: usize = 100;
/// How long dead letters are kept (spec §9).
pub const DEAD_LETTER_RETENTION: Duration = Duration::from_secs(30 * 24 * 3_600);
