-- +goose Up
-- When every live node had a signing key (0: not yet), and when it was revoked (0: it was not).
ALTER TABLE signing_keys ADD COLUMN ready_at {int} NOT NULL DEFAULT 0;
ALTER TABLE signing_keys ADD COLUMN revoked_at {int} NOT NULL DEFAULT 0;
UPDATE signing_keys SET ready_at = active_at;

-- Which sealing key wraps a data key; '' where a release wrote it that did not say.
ALTER TABLE data_keys ADD COLUMN kek {key} NOT NULL DEFAULT '';

-- Data keys that seal nothing new: until the last value that they sealed is sealed anew, and the marks of
-- those that were destroyed (kek 'destroyed', nothing wrapped).
CREATE TABLE old_data_keys (
  id         {key}   PRIMARY KEY,
  scope_id   {id}    NOT NULL,
  wrapped    {bytes} NOT NULL,
  kek        {key}   NOT NULL,
  created_at {int}   NOT NULL,
  retired_at {int}   NOT NULL
) {strict};
CREATE INDEX old_data_keys_scope ON old_data_keys (scope_id);

-- Signed statements of where a chain stood (S43): kept for ever, so that a chain whose beginning was cut
-- off behind one can be verified still.
CREATE TABLE audit_anchors (
  org_id    {id}    NOT NULL,
  seq       {int}   NOT NULL,
  hash      {bytes} NOT NULL,
  at        {int}   NOT NULL,
  kid       {key}   NOT NULL,
  signature {bytes} NOT NULL,
  PRIMARY KEY (org_id, seq)
) {wr};

-- Whoever makes data keys, or changes what wraps them, changes this first, and so waits for the others.
INSERT INTO counters (name, n) VALUES ('data_keys', 0);
INSERT INTO counters (name, n) VALUES ('anchored_at', 0);
