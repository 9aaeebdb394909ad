-- +goose Up
-- Every sign-in kept these two for what an operator does once in a while: ending what was signed in to an
-- app. That walks the primary keys instead.
DROP INDEX session_apps_app;
DROP INDEX token_grants_app;
