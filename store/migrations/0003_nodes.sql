-- +goose Up
-- Who serves from this database: a node says every few seconds that it lives, by the database's clock, and
-- which keys it holds (ids, separated by spaces).
CREATE TABLE nodes (
  id         {id}  PRIMARY KEY,
  started_at {int} NOT NULL,
  seen_at    {int} NOT NULL,
  keys       {doc} NOT NULL
) {wr};
