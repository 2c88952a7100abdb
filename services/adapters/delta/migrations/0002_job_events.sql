-- The audit trail: Delta itself refuses to change or remove a row. One that was sent twice is there twice, under one
-- event_id.
CREATE TABLE IF NOT EXISTS {job_events} (
    event_id STRING NOT NULL COMMENT 'job, version of the write and place in it: the order of writing',
    job_id   STRING NOT NULL,
    at       TIMESTAMP NOT NULL,
    kind     STRING NOT NULL,
    actor    STRING NOT NULL,
    attempt  BIGINT NOT NULL,
    detail   STRING NOT NULL
)
USING DELTA
CLUSTER BY (job_id)
TBLPROPERTIES (
    'delta.enableChangeDataFeed' = 'true',
    'delta.autoOptimize.autoCompact' = 'true',
    'delta.appendOnly' = 'true'
)
