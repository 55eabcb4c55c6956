-- From format 3 to 4.
-- Registered event types. The schemas lie behind all that lists read: up to 2 MB a type.
CREATE TABLE event_types(
  tenant TEXT NOT NULL, event_type TEXT NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL, schemas BLOB NOT NULL,
  PRIMARY KEY(tenant, event_type));
