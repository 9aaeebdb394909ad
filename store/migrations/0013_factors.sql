-- +goose Up
-- What people set up to prove themselves by, besides their identity provider. It belongs to the person's
-- home organization; org_id is where it counts, with all below.
CREATE TABLE factors (
  id          {id}    PRIMARY KEY,
  realm_id    {id}    NOT NULL,
  home_id     {id}    NOT NULL REFERENCES organizations (id),
  person_id   {id}    NOT NULL,
  org_id      {id}    NOT NULL,
  method      {key}   NOT NULL,
  label       {text}  NOT NULL,
  secret      {bytes} NOT NULL,            -- sealed; empty where there is none
  public      {doc}   NOT NULL,
  handle      {bytes} NOT NULL,            -- WebAuthn credential ID; empty: none
  counter     {int}   NOT NULL,
  created_at  {int}   NOT NULL,
  last_used   {int}   NOT NULL,
  counts_from {int}   NOT NULL,
  version     {int}   NOT NULL
) {strict};
CREATE INDEX factors_person ON factors (person_id, home_id, created_at, id);
CREATE UNIQUE INDEX factors_handle ON factors (realm_id, handle) WHERE length(handle) > 0;

-- By which words an identity provider says that it asked for a second step: a JSON list.
ALTER TABLE connections ADD COLUMN mfa {doc} NOT NULL DEFAULT '[]';

-- Wrong answers of each person, counted in slots of six minutes: no guessing across logins, nodes and
-- restarts (S7).
CREATE TABLE tries (
  person_id {id}  NOT NULL,
  home_id   {id}  NOT NULL,
  method    {key} NOT NULL,
  slot      {int} NOT NULL,               -- when it begins
  n         {int} NOT NULL,
  PRIMARY KEY (person_id, home_id, method, slot)
) {wr};
CREATE INDEX tries_slot ON tries (slot);
