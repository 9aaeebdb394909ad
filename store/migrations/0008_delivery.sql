-- +goose Up
-- What must leave the house and arrive. A job that is being sent is due again at run_at, when its lease
-- is over; payload is sealed, and the row goes when the job is over.
CREATE TABLE jobs (
  id         {id}    PRIMARY KEY,
  kind       {key}   NOT NULL,
  org_id     {id}    NOT NULL,
  target     {key}   NOT NULL,
  host       {key}   NOT NULL,
  payload    {bytes} NOT NULL,
  created_at {int}   NOT NULL,
  run_at     {int}   NOT NULL,
  not_after  {int}   NOT NULL,
  attempts   {int}   NOT NULL,
  lease      {key}   NOT NULL,
  last_error {key}   NOT NULL
) {wr};
CREATE INDEX jobs_due ON jobs (kind, run_at, host);
CREATE INDEX jobs_host ON jobs (kind, host, run_at);
CREATE INDEX jobs_org ON jobs (org_id, id);

-- How jobs ended. Swept after two weeks.
CREATE TABLE deliveries (
  org_id     {id}  NOT NULL,
  id         {id}  NOT NULL,
  kind       {key} NOT NULL,
  target     {key} NOT NULL,
  created_at {int} NOT NULL,
  at         {int} NOT NULL,
  outcome    {key} NOT NULL,
  attempts   {int} NOT NULL,
  last_error {key} NOT NULL,
  PRIMARY KEY (org_id, id)
) {wr};
CREATE INDEX deliveries_at ON deliveries (at);

-- Whose sessions and tokens of before a time are over, written with the change that ended them; a node
-- claims a row until lease, carries it out and sets done_at.
CREATE TABLE revocations (
  seq     {int} PRIMARY KEY,
  kind    {key} NOT NULL,
  ref     {id}  NOT NULL,
  org_id  {id}  NOT NULL,
  reason  {key} NOT NULL,
  at      {int} NOT NULL,
  until   {int} NOT NULL,
  lease   {int} NOT NULL,
  done_at {int} NOT NULL
) {strict};
CREATE INDEX revocations_open ON revocations (lease, seq) WHERE done_at = 0;
CREATE INDEX revocations_until ON revocations (until);
INSERT INTO counters (name, n) VALUES ('revocations', 0);

-- When an app's part of a session ended; its next sign-in gets another sid.
ALTER TABLE session_apps ADD COLUMN ended_at {int} NOT NULL DEFAULT 0;

-- What logging out does to the session at the provider.
ALTER TABLE connections ADD COLUMN logout {key} NOT NULL DEFAULT 'local';

CREATE INDEX sessions_home ON sessions (home_id, person_id, id);
CREATE INDEX session_orgs_org ON session_orgs (org_id, session_id);
CREATE INDEX session_apps_app ON session_apps (app_id, session_id);
CREATE INDEX token_grants_owner ON token_grants (org_id, person_id) WHERE revoked_at = 0;
CREATE INDEX token_grants_app ON token_grants (app_id) WHERE revoked_at = 0;
