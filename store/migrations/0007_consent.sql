-- +goose Up
-- Values that are made once and never change: the key of pairwise subjects (S40). Sealed.
CREATE TABLE secrets (
  name       {key}   PRIMARY KEY,
  value      {bytes} NOT NULL,
  created_at {int}   NOT NULL
) {strict};

-- What somebody let an app learn and do in one organization. It says nothing for another one (S39).
CREATE TABLE consents (
  org_id     {id}  NOT NULL REFERENCES organizations (id),
  person_id  {id}  NOT NULL,
  app_id     {id}  NOT NULL,
  realm_id   {id}  NOT NULL,
  scope      {doc} NOT NULL,               -- separated by spaces
  claims     {doc} NOT NULL,
  since      {int} NOT NULL,
  updated_at {int} NOT NULL,
  PRIMARY KEY (org_id, person_id, app_id)
) {wr};
