-- Times are ISO 8601 in UTC with microseconds, always in full, so that they sort as text.

CREATE TABLE jobs (
    job_id            TEXT PRIMARY KEY,
    owner             TEXT NOT NULL,
    name              TEXT NOT NULL,
    dataset_id        TEXT NOT NULL,
    dataset_name      TEXT NOT NULL,
    search_text       TEXT NOT NULL,  -- name and dataset_name, case-folded: LIKE folds ASCII only
    status            TEXT NOT NULL CHECK (status IN (
                          'PENDING', 'SUBMITTING', 'RUNNING', 'CANCELLING', 'CANCELLED', 'COMPLETED', 'FAILED')),
    version           INTEGER NOT NULL,
    created_at        TEXT NOT NULL,
    updated_at        TEXT NOT NULL,
    observed_at       TEXT,
    next_attempt_at   TEXT,
    automatic_retries INTEGER NOT NULL,
    spec_json         TEXT NOT NULL,
    attempts_json     TEXT NOT NULL,  -- read and written only together with their job
    progress_json     TEXT NOT NULL,
    outcome_json      TEXT,
    step              TEXT NOT NULL,
    error             TEXT NOT NULL,
    request_id        TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX jobs_by_request ON jobs (owner, request_id) WHERE request_id <> '';
CREATE INDEX jobs_newest ON jobs (created_at DESC, job_id);
CREATE INDEX jobs_by_owner ON jobs (owner, created_at DESC, job_id);
CREATE INDEX jobs_by_status ON jobs (status, created_at);
CREATE INDEX jobs_by_owner_and_status ON jobs (owner, status);

CREATE TABLE job_events (
    event_id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id   TEXT NOT NULL,  -- no foreign key: the trail outlives its job
    at       TEXT NOT NULL,
    kind     TEXT NOT NULL,
    actor    TEXT NOT NULL,
    attempt  INTEGER NOT NULL,
    detail   TEXT NOT NULL
) STRICT;

CREATE INDEX job_events_by_job ON job_events (job_id, event_id);

CREATE TABLE datasets (
    dataset_id      TEXT PRIMARY KEY,
    owner           TEXT NOT NULL,
    name            TEXT NOT NULL,
    source          TEXT NOT NULL,
    suffix          TEXT NOT NULL,
    size_bytes      INTEGER NOT NULL,
    status          TEXT NOT NULL CHECK (status IN ('DRAFT', 'READY')),
    created_at      TEXT NOT NULL,
    updated_at      TEXT NOT NULL,
    options_json    TEXT NOT NULL,
    roles_json      TEXT NOT NULL,
    profile_json    TEXT NOT NULL,
    draft_spec_json TEXT NOT NULL,
    row_count       INTEGER NOT NULL,
    series_count    INTEGER NOT NULL
) STRICT;

CREATE INDEX datasets_by_owner ON datasets (owner, created_at DESC, dataset_id);
