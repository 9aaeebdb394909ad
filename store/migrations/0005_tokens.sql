-- +goose Up
-- A grant is what one redeemed code, one approved device or one exchanged token opened: with it, where
-- offline access was given, one family of refresh tokens.
ALTER TABLE token_grants ADD COLUMN kind {key} NOT NULL DEFAULT 'code';
ALTER TABLE token_grants ADD COLUMN sid {key} NOT NULL DEFAULT '';
ALTER TABLE token_grants ADD COLUMN offline {bool} NOT NULL DEFAULT 0;
ALTER TABLE token_grants ADD COLUMN opened_at {int} NOT NULL DEFAULT 0;
ALTER TABLE token_grants ADD COLUMN proofs {doc} NOT NULL DEFAULT '';
ALTER TABLE token_grants ADD COLUMN resources {doc} NOT NULL DEFAULT '';
ALTER TABLE token_grants ADD COLUMN claims {doc} NOT NULL DEFAULT '';
ALTER TABLE token_grants ADD COLUMN jkt {key} NOT NULL DEFAULT '';
ALTER TABLE token_grants ADD COLUMN actor {doc} NOT NULL DEFAULT '';
ALTER TABLE token_grants ADD COLUMN parent_id {id} NOT NULL DEFAULT '';
-- A refresh token is two secrets: the family's, which finds the row, and one that rotates.
ALTER TABLE token_grants ADD COLUMN family_hash {bytes} NOT NULL DEFAULT {empty};
ALTER TABLE token_grants ADD COLUMN refresh_hash {bytes} NOT NULL DEFAULT {empty};
ALTER TABLE token_grants ADD COLUMN refresh_prev {bytes} NOT NULL DEFAULT {empty};
ALTER TABLE token_grants ADD COLUMN refresh_echo {bytes} NOT NULL DEFAULT {empty};
ALTER TABLE token_grants ADD COLUMN refreshed_at {int} NOT NULL DEFAULT 0;
ALTER TABLE token_grants ADD COLUMN refresh_until {int} NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX token_grants_family ON token_grants (family_hash) WHERE refresh_until <> 0;

-- Access tokens that mean nothing without us, by SHA-256. Swept when they are over.
CREATE TABLE access_tokens (
  hash       {bytes} PRIMARY KEY,
  org_id     {id}    NOT NULL,
  app_id     {id}    NOT NULL,
  grant_id   {id}    NOT NULL,
  expires_at {int}   NOT NULL,
  claims     {doc}   NOT NULL
) {wr};
CREATE INDEX access_tokens_expires ON access_tokens (expires_at);

-- Access tokens that are good by their signature and were called back: SHA-256 of organization and jti,
-- until they are over.
CREATE TABLE revoked_tokens (
  hash  {bytes} PRIMARY KEY,
  until {int}   NOT NULL
) {wr};
CREATE INDEX revoked_tokens_until ON revoked_tokens (until);
