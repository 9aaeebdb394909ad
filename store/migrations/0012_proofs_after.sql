-- +goose Up
-- When a connection was last switched off: what was proved by it before counts for nothing any more.
ALTER TABLE connections ADD COLUMN proofs_after {int} NOT NULL DEFAULT 0;
