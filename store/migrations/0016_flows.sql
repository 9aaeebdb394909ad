-- +goose Up
-- Each version of an organization's sign-in flow, and who wrote it. Which of them is published lies in
-- documents.
CREATE TABLE flow_versions (
  org_id     {id}   NOT NULL REFERENCES organizations (id),
  version    {int}  NOT NULL,
  at         {int}  NOT NULL,
  actor_kind {key}  NOT NULL,
  actor_id   {text} NOT NULL,
  doc        {doc}  NOT NULL,
  PRIMARY KEY (org_id, version)
) {wr};

-- Which terms people accepted, and when. org_id is whose terms they are.
CREATE TABLE terms_accepted (
  person_id {id}  NOT NULL,
  org_id    {id}  NOT NULL REFERENCES organizations (id),
  version   {key} NOT NULL,
  at        {int} NOT NULL,
  PRIMARY KEY (person_id, org_id, version)
) {wr};
