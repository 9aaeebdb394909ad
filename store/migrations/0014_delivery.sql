-- +goose Up
-- What was used of each budget for messages, in its time. k is made of a keyed hash: it names no person,
-- address or number. Swept when its time is over.
CREATE TABLE budgets (
  k     {key} PRIMARY KEY,
  n     {int} NOT NULL,
  most  {int} NOT NULL,
  until {int} NOT NULL
) {wr};
CREATE INDEX budgets_until ON budgets (until);

-- How many codes an organization's people were sent by SMS, and how many were typed, by quarters of an
-- hour. Swept after two days.
CREATE TABLE sms_codes (
  org_id {id}  NOT NULL,
  slot   {int} NOT NULL,
  sent   {int} NOT NULL,
  used   {int} NOT NULL,
  PRIMARY KEY (org_id, slot)
) {wr};
CREATE INDEX sms_codes_slot ON sms_codes (slot);
