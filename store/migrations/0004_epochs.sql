-- +goose Up
-- Since when nothing of the short-lived state was lost, where several nodes share it (epochs.go). One row.
CREATE TABLE epochs (
    name   {key} NOT NULL PRIMARY KEY, -- 'brief'
    token  {key} NOT NULL, -- what the epoch's values are kept under
    began  {int} NOT NULL,
    beat   {int} NOT NULL, -- how far the heartbeat has come; 0 while the epoch is being begun
    server {key} NOT NULL, -- where the heartbeat beats
    at     {int} NOT NULL  -- when this row was last written
) {wr};
-- only:pg
-- The short-lived state itself, where there is no Redis. Logged: an unlogged table is emptied by a crash.
CREATE TABLE notes (
    k     {key} NOT NULL PRIMARY KEY,
    v     {bytes} NOT NULL,
    until {int} NOT NULL
);
CREATE INDEX notes_until ON notes (until);
CREATE TABLE counts (
    k     {key} NOT NULL PRIMARY KEY,
    n     {int} NOT NULL,
    until {int} NOT NULL
);
CREATE INDEX counts_until ON counts (until);
-- end
