-- +goose Up
-- What lets apps register themselves (RFC 7591): a token of 256 random bits, kept as SHA-256, and how often
-- it may be used still.
CREATE TABLE registration_tokens (
  hash        {bytes} PRIMARY KEY,
  realm_id    {id}    NOT NULL,
  name        {text}  NOT NULL,
  orgs        {doc}   NOT NULL,            -- organizations that may use what is registered, as a JSON list
  first_party {bool}  NOT NULL,
  created_at  {int}   NOT NULL,
  expires_at  {int}   NOT NULL,
  uses_left   {int}   NOT NULL
) {wr};
CREATE INDEX registration_tokens_end ON registration_tokens (expires_at);
