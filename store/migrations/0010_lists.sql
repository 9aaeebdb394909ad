-- +goose Up
-- What one realm holds, in the order of an export: parents before their children, apps by client id.
CREATE INDEX organizations_realm ON organizations (realm_id, path);
CREATE INDEX apps_realm ON apps (realm_id, client_id);
