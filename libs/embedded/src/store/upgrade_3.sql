-- From format 2 to 3.
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
