-- +goose Up
-- Passwords of people, in their home organization: the current one of each, and earlier ones as far as a
-- policy refuses them.
CREATE TABLE passwords (
  id        {id}    PRIMARY KEY,
  home_id   {id}    NOT NULL REFERENCES organizations (id),
  person_id {id}    NOT NULL,
  hash      {bytes} NOT NULL,              -- sealed
  set_at    {int}   NOT NULL,
  source    {key}   NOT NULL,
  state     {key}   NOT NULL               -- current or earlier
) {strict};
CREATE UNIQUE INDEX passwords_current ON passwords (person_id) WHERE state = 'current';
CREATE INDEX passwords_person ON passwords (person_id, home_id, set_at, id);

-- An address that is typed where no organization is known yet may mean people of several.
CREATE INDEX identifiers_value ON identifiers (value, kind);

-- Leaky buckets of guesses: empty_at is when one is empty, if nothing is added.
CREATE TABLE guesses (
  realm_id {id}  NOT NULL,
  who      {key} NOT NULL,
  empty_at  {int} NOT NULL,
  PRIMARY KEY (realm_id, who)
) {wr};
CREATE INDEX guesses_empty ON guesses (empty_at);
