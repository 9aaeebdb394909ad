-- +goose Up
-- What else an app may learn about a person (OpenID Connect Core section 5.1), and when it last changed.
ALTER TABLE people ADD COLUMN profile {doc} NOT NULL DEFAULT '{}';
ALTER TABLE people ADD COLUMN updated_at {int} NOT NULL DEFAULT 0;
