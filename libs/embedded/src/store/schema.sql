-- Bodies of events that something waits for. Written with the first row that needs them; removed after keep_until.
-- Access: by (tenant, event) and place.
CREATE TABLE events(
  id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, event TEXT NOT NULL, at INTEGER NOT NULL,
  keep_until INTEGER NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX events_key ON events(event, tenant, at);
CREATE INDEX events_keep ON events(keep_until);

-- Facts of deliveries, never changed. attempt = 1 for requests: an endpoint's list shows those alone.
-- Access: by event (and place, endpoint); an endpoint's requests, newest first. Removed in the order they came.
CREATE TABLE facts(
  id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, event TEXT NOT NULL, at INTEGER NOT NULL, endpoint BLOB NOT NULL,
  run BLOB NOT NULL, fact BLOB NOT NULL, time INTEGER NOT NULL, attempt INTEGER NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX facts_key ON facts(event, tenant, at, endpoint, fact, run);
CREATE INDEX facts_endpoint ON facts(endpoint, time, fact) WHERE attempt = 1;

-- What waits, per lane in the order of due time. Removed behind the lane's cursor, never before it.
CREATE TABLE backlog(
  endpoint BLOB NOT NULL, shard INTEGER NOT NULL, due INTEGER NOT NULL, seq INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY(endpoint, shard, due, seq)) WITHOUT ROWID;

-- What outlives the owner of a lane. Never expires.
CREATE TABLE lanes(
  shard INTEGER NOT NULL, endpoint BLOB NOT NULL, epoch INTEGER NOT NULL, cursor_due INTEGER NOT NULL,
  cursor_seq INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY(shard, endpoint)) WITHOUT ROWID;

-- Lines that are open, as their owner last saved them. Removed when they are closed.
-- Access: those of a shard.
CREATE TABLE lines(
  shard INTEGER NOT NULL, endpoint BLOB NOT NULL, line BLOB NOT NULL, epoch INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY(shard, endpoint, line)) WITHOUT ROWID;

-- Deliveries that are held behind others of their ordering key. Removed before their line's from, and with their line.
-- Access: a line in the order of positions.
CREATE TABLE held(
  endpoint BLOB NOT NULL, shard INTEGER NOT NULL, line BLOB NOT NULL, position INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY(endpoint, shard, line, position)) WITHOUT ROWID;

-- Commands to lanes. Done ones stay until they expire, so that one sent again is known.
CREATE TABLE inbox(
  id INTEGER PRIMARY KEY, shard INTEGER NOT NULL, command BLOB NOT NULL, time INTEGER NOT NULL,
  done INTEGER NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX inbox_key ON inbox(shard, command);
CREATE INDEX inbox_pending ON inbox(shard, time, command) WHERE done = 0;

-- Dead letters with what became of them: redrive 0 nothing, 1 on its way (by redrive_run), 2 resolved.
-- runs: the runs whose ends were put, 16 bytes each, newest last.
CREATE TABLE dead_letters(
  id INTEGER PRIMARY KEY, endpoint BLOB NOT NULL, letter BLOB NOT NULL, tenant TEXT NOT NULL, time INTEGER NOT NULL,
  reason INTEGER NOT NULL, runs BLOB NOT NULL, redrive INTEGER NOT NULL, redrive_run BLOB, body BLOB NOT NULL);
CREATE UNIQUE INDEX dead_letters_key ON dead_letters(endpoint, letter);
CREATE INDEX dead_letters_list ON dead_letters(endpoint, time, letter, reason) WHERE redrive < 2;
CREATE INDEX dead_letters_time ON dead_letters(time);

-- Keys of publishers, for a day. Removed in the order they came.
CREATE TABLE idempotency(
  id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, key TEXT NOT NULL, event TEXT NOT NULL, at INTEGER NOT NULL,
  hash BLOB NOT NULL, time INTEGER NOT NULL);
CREATE UNIQUE INDEX idempotency_key ON idempotency(tenant, key);

-- Jobs with their whole state; open = 1 until they end.
-- Access: by id; a tenant's, newest first; those that are open. Removed in the order of their times.
CREATE TABLE jobs(
  id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, job BLOB NOT NULL, time INTEGER NOT NULL, open INTEGER NOT NULL,
  version INTEGER NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX jobs_key ON jobs(tenant, job);
CREATE INDEX jobs_open ON jobs(open, job);
CREATE INDEX jobs_time ON jobs(time);

-- Tenants, and the revision that every change of their configuration raises.
CREATE TABLE tenants(
  tenant TEXT PRIMARY KEY, display_name TEXT NOT NULL, create_time INTEGER NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE endpoints(
  tenant TEXT NOT NULL, endpoint TEXT NOT NULL, uid BLOB NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY(tenant, endpoint));
CREATE UNIQUE INDEX endpoints_uid ON endpoints(uid);
CREATE TABLE subscriptions(
  tenant TEXT NOT NULL, endpoint TEXT NOT NULL, subscription TEXT NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY(tenant, endpoint, subscription)) WITHOUT ROWID;

-- Registered event types. The schemas lie behind all that lists read: up to 2 MB a type.
CREATE TABLE event_types(
  tenant TEXT NOT NULL, event_type TEXT NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL, schemas BLOB NOT NULL,
  PRIMARY KEY(tenant, event_type));
