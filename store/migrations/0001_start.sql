-- +goose Up
-- Types in braces are rendered for the database (dialect.go). Times are microseconds since 1970 UTC, 0 is
-- "none"; every boolean is 0 or 1. Ids are text that sorts by time of making.

-- Named numbers. 'changes' is the revision of all configuration; 'org_code' makes path codes;
-- 'schema_needs' is the oldest schema that a program must know to use this database.
CREATE TABLE counters (
  name {key} PRIMARY KEY,
  n    {int} NOT NULL
) {wr};
INSERT INTO counters (name, n) VALUES ('changes', 0), ('org_code', 0), ('schema_needs', 1);

-- Named small values: the sealing key's check, the mark of a clean stop.
CREATE TABLE marks (
  name  {key}   PRIMARY KEY,
  value {bytes} NOT NULL
) {wr};

-- What changed, for the caches of other processes. Swept after an hour.
CREATE TABLE changes (
  seq  {int} PRIMARY KEY,
  kind {key} NOT NULL,
  ref  {key} NOT NULL,
  at   {int} NOT NULL
) {strict};

CREATE TABLE realms (
  id     {id}  PRIMARY KEY,
  handle {key} NOT NULL UNIQUE,
  scope  {key} NOT NULL,
  status {key} NOT NULL
) {strict};

CREATE TABLE organizations (
  id        {id}   PRIMARY KEY,
  realm_id  {id}   NOT NULL REFERENCES realms (id),
  parent_id {id}   NOT NULL,             -- '' at the top; the truth about the tree
  top_id    {id}   NOT NULL,
  path      {key}  NOT NULL UNIQUE,      -- derived: five characters for each ancestor and itself
  handle    {key}  NOT NULL,
  name      {text} NOT NULL,
  status    {key}  NOT NULL,
  contact   {text} NOT NULL,
  version   {int}  NOT NULL
) {strict};
CREATE INDEX organizations_parent ON organizations (parent_id, handle);

-- Every handle that was ever given out in a realm, and to whom: never to anybody else again (S40).
CREATE TABLE org_handles (
  realm_id {id}  NOT NULL,
  handle   {key} NOT NULL,
  org_id   {id}  NOT NULL,
  PRIMARY KEY (realm_id, handle)
) {wr};

-- Many may claim a domain, one organization of a realm may have it verified.
CREATE TABLE domains (
  realm_id      {id}   NOT NULL,
  name          {key}  NOT NULL,
  org_id        {id}   NOT NULL REFERENCES organizations (id),
  connection_id {id}   NOT NULL,
  verified_at   {int}  NOT NULL,
  verified_by   {key}  NOT NULL,
  doubtful      {bool} NOT NULL,
  PRIMARY KEY (realm_id, name, org_id)
) {wr};
CREATE UNIQUE INDEX domains_verified ON domains (realm_id, name) WHERE verified_at <> 0;
CREATE INDEX domains_org ON domains (org_id, name);

CREATE TABLE people (
  id             {id}   PRIMARY KEY,
  realm_id       {id}   NOT NULL,
  home_id        {id}   NOT NULL REFERENCES organizations (id),
  name           {text} NOT NULL,
  given          {text} NOT NULL,
  family         {text} NOT NULL,
  locale         {key}  NOT NULL,
  email          {text} NOT NULL,
  email_since    {int}  NOT NULL,
  email_proved   {int}  NOT NULL,
  status         {key}  NOT NULL,
  sessions_after {int}  NOT NULL,
  source         {key}  NOT NULL,
  created_at     {int}  NOT NULL,
  version        {int}  NOT NULL
) {wr};

-- Addresses and names that find a person, unique in a scope: the realm, a top-level organization's tree
-- or one organization, as the realm says.
CREATE TABLE identifiers (
  scope_id    {id}  NOT NULL,
  kind        {key} NOT NULL,
  value       {key} NOT NULL,
  person_id   {id}  NOT NULL,
  verified_at {int} NOT NULL,
  PRIMARY KEY (scope_id, kind, value)
) {wr};
CREATE INDEX identifiers_person ON identifiers (person_id);

CREATE TABLE memberships (
  org_id    {id}  NOT NULL,
  person_id {id}  NOT NULL,
  realm_id  {id}  NOT NULL,
  kind      {key} NOT NULL,
  status    {key} NOT NULL,
  source    {key} NOT NULL,
  until     {int} NOT NULL,
  accepts   {id}  NOT NULL,
  PRIMARY KEY (org_id, person_id)
) {wr};
CREATE INDEX memberships_person ON memberships (person_id);

CREATE TABLE connections (
  id            {id}    PRIMARY KEY,
  org_id        {id}    NOT NULL REFERENCES organizations (id),
  realm_id      {id}    NOT NULL,
  type          {key}   NOT NULL,
  name          {text}  NOT NULL,
  status        {key}   NOT NULL,
  issuer        {key}   NOT NULL,       -- as given, compared byte by byte
  config        {doc}   NOT NULL,
  secret        {bytes} NOT NULL,       -- sealed
  offered       {bool}  NOT NULL,
  jit           {key}   NOT NULL,
  authoritative {bool}  NOT NULL,
  guests        {bool}  NOT NULL,
  private       {doc}   NOT NULL,
  skew          {int}   NOT NULL,
  version       {int}   NOT NULL
) {strict};
CREATE INDEX connections_org ON connections (org_id, id);

-- Who signs in as whom: the key is compared byte by byte (S4).
CREATE TABLE identities (
  connection_id {id}  NOT NULL,
  issuer        {key} NOT NULL,
  subject       {key} NOT NULL,
  qualifiers    {key} NOT NULL,
  org_id        {id}  NOT NULL,
  realm_id      {id}  NOT NULL,
  person_id     {id}  NOT NULL,
  created_at    {int} NOT NULL,
  last_login    {int} NOT NULL,
  PRIMARY KEY (connection_id, issuer, subject, qualifiers)
) {wr};
CREATE INDEX identities_person ON identities (person_id);

CREATE TABLE apps (
  id        {id}   PRIMARY KEY,
  client_id {key}  NOT NULL UNIQUE,     -- rows stay, so it is never given out again
  realm_id  {id}   NOT NULL,
  name      {text} NOT NULL,
  status    {key}  NOT NULL,
  config    {doc}  NOT NULL,
  version   {int}  NOT NULL
) {strict};

CREATE TABLE app_secrets (
  app_id     {id}    NOT NULL REFERENCES apps (id),
  hash       {bytes} NOT NULL,
  created_at {int}   NOT NULL,
  until      {int}   NOT NULL,
  PRIMARY KEY (app_id, hash)
) {wr};

CREATE TABLE entitlements (
  org_id {id}   NOT NULL REFERENCES organizations (id),
  app_id {id}   NOT NULL,
  below  {bool} NOT NULL,
  PRIMARY KEY (org_id, app_id)
) {wr};

-- What a level set: its theme, its policy. ref is an organization, realm or app; '' is the platform.
CREATE TABLE documents (
  ref     {id}  NOT NULL,
  kind    {key} NOT NULL,
  doc     {doc} NOT NULL,
  version {int} NOT NULL,
  PRIMARY KEY (ref, kind)
) {wr};

CREATE TABLE sessions (
  id         {id}    PRIMARY KEY,
  token_hash {bytes} NOT NULL UNIQUE,
  realm_id   {id}    NOT NULL,
  person_id  {id}    NOT NULL,
  home_id    {id}    NOT NULL,
  created_at {int}   NOT NULL,
  ends_at    {int}   NOT NULL,
  ended_at   {int}   NOT NULL,
  device     {text}  NOT NULL,
  proofs     {doc}   NOT NULL,
  version    {int}   NOT NULL
) {wr};

CREATE TABLE session_orgs (
  session_id {id}  NOT NULL,
  org_id     {id}  NOT NULL,
  since      {int} NOT NULL,
  seen       {int} NOT NULL,
  held       {int} NOT NULL,
  PRIMARY KEY (session_id, org_id)
) {wr};

CREATE TABLE session_apps (
  session_id {id}  NOT NULL,
  app_id     {id}  NOT NULL,
  org_id     {id}  NOT NULL,
  sid        {key} NOT NULL,
  first_at   {int} NOT NULL,
  PRIMARY KEY (session_id, app_id, org_id)
) {wr};

CREATE TABLE token_grants (
  id         {id}    PRIMARY KEY,
  org_id     {id}    NOT NULL,
  realm_id   {id}    NOT NULL,
  app_id     {id}    NOT NULL,
  person_id  {id}    NOT NULL,
  session_id {id}    NOT NULL,
  code_hash  {bytes} NOT NULL UNIQUE,   -- no code redeems twice, whatever was forgotten
  bound_hash {bytes} NOT NULL,
  scope      {doc}   NOT NULL,
  auth_time  {int}   NOT NULL,
  created_at {int}   NOT NULL,
  expires_at {int}   NOT NULL,
  revoked_at {int}   NOT NULL,
  reason     {key}   NOT NULL
) {wr};
CREATE INDEX token_grants_session ON token_grants (session_id, org_id);

-- What may be used once (S16): a hash of organization, kind and key.
CREATE TABLE spent (
  hash  {bytes} PRIMARY KEY,
  until {int}   NOT NULL
) {wr};
CREATE INDEX spent_until ON spent (until);

CREATE TABLE signing_keys (
  kid        {key}   PRIMARY KEY,
  use        {key}   NOT NULL,
  alg        {key}   NOT NULL,
  private    {bytes} NOT NULL,          -- sealed
  created_at {int}   NOT NULL,
  active_at  {int}   NOT NULL,
  retire_at  {int}   NOT NULL,
  expires_at {int}   NOT NULL
) {strict};
CREATE UNIQUE INDEX signing_keys_current ON signing_keys (use, alg) WHERE retire_at = 0;

-- One for each realm, each top-level organization and '' the platform, wrapped by the sealing key (S24).
CREATE TABLE data_keys (
  id         {key}   PRIMARY KEY,
  scope_id   {id}    NOT NULL UNIQUE,
  wrapped    {bytes} NOT NULL,
  created_at {int}   NOT NULL
) {strict};

CREATE TABLE traces (
  seq    {serial},
  code   {key} NOT NULL UNIQUE,
  at     {int} NOT NULL,
  org_id {id}  NOT NULL,
  doc    {doc} NOT NULL
) {strict};

-- Entries commit here with the change they record, and are chained within a second (S43).
CREATE TABLE audit_pending (
  seq         {serial},
  id          {id}   NOT NULL,
  org_id      {id}   NOT NULL,
  at          {int}  NOT NULL,
  actor_kind  {key}  NOT NULL,
  actor_id    {key}  NOT NULL,
  action      {key}  NOT NULL,
  target_kind {key}  NOT NULL,
  target_id   {key}  NOT NULL,
  detail      {doc}  NOT NULL
) {strict};

-- One chain for each organization, '' the platform's: hash covers the hash before it and every column.
CREATE TABLE audit (
  org_id      {id}    NOT NULL,
  seq         {int}   NOT NULL,
  id          {id}    NOT NULL,
  at          {int}   NOT NULL,
  actor_kind  {key}   NOT NULL,
  actor_id    {key}   NOT NULL,
  action      {key}   NOT NULL,
  target_kind {key}   NOT NULL,
  target_id   {key}   NOT NULL,
  detail      {doc}   NOT NULL,
  hash        {bytes} NOT NULL,
  PRIMARY KEY (org_id, seq)
) {wr};

CREATE TABLE audit_heads (
  org_id {id}    PRIMARY KEY,
  seq    {int}   NOT NULL,
  hash   {bytes} NOT NULL
) {wr};
