-- From format 1 to 2.
-- Jobs with their whole state; open = 1 until they end.
-- Access: by id; a tenant's, newest first; those that are open. Removed in the order of their times.
CREATE TABLE jobs(
  id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, job BLOB NOT NULL, time INTEGER NOT NULL, open INTEGER NOT NULL,
  version INTEGER NOT NULL, body BLOB NOT NULL);
CREATE UNIQUE INDEX jobs_key ON jobs(tenant, job);
CREATE INDEX jobs_open ON jobs(open, job);
CREATE INDEX jobs_time ON jobs(time);
