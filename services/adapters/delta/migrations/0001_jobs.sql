-- Serializable: a MERGE that adds a job fails when another one has just added what it looked for in vain, so that one
-- form makes one job. Rows of different jobs still don't conflict (row-level concurrency, by CLUSTER BY).
CREATE TABLE IF NOT EXISTS {jobs} (
    job_id            STRING NOT NULL,
    owner             STRING NOT NULL,
    name              STRING NOT NULL,
    dataset_id        STRING NOT NULL,
    dataset_name      STRING NOT NULL,
    search_text       STRING NOT NULL COMMENT 'name and dataset_name, case-folded',
    status            STRING NOT NULL COMMENT 'of the job; DELETED while its last events are on their way',
    version           BIGINT NOT NULL COMMENT 'counts the writes; a row is changed only at the version that was read',
    created_at        TIMESTAMP NOT NULL,
    updated_at        TIMESTAMP NOT NULL,
    observed_at       TIMESTAMP,
    next_attempt_at   TIMESTAMP,
    automatic_retries BIGINT NOT NULL,
    spec_json         STRING NOT NULL,
    attempts_json     STRING NOT NULL COMMENT 'read and written only together with their job',
    progress_json     STRING NOT NULL,
    outcome_json      STRING,
    step              STRING NOT NULL,
    error             STRING NOT NULL,
    request_id        STRING NOT NULL,
    write_id          STRING NOT NULL COMMENT 'of the latest write, so that one that was sent twice is known again',
    outbox_json       STRING NOT NULL COMMENT 'events of the latest writes, until it is known that job_events has them'
)
USING DELTA
CLUSTER BY (owner, status, created_at)
TBLPROPERTIES (
    'delta.enableChangeDataFeed' = 'true',
    'delta.autoOptimize.autoCompact' = 'true',
    'delta.enableDeletionVectors' = 'true',
    'delta.isolationLevel' = 'Serializable'
)
