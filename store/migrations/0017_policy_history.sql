-- +goose Up
-- What each version of a level's policy was, and who made it. ref is an organization, realm or app; '' is the
-- platform. A version without a time was written before there was a history.
CREATE TABLE policy_history (
  ref        {id}   NOT NULL,
  version    {int}  NOT NULL,
  at         {int}  NOT NULL,
  actor_kind {key}  NOT NULL,
  actor_id   {text} NOT NULL,
  doc        {doc}  NOT NULL,
  PRIMARY KEY (ref, version)
) {wr};
