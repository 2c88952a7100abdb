CREATE TABLE IF NOT EXISTS {datasets} (
    dataset_id      STRING NOT NULL,
    owner           STRING NOT NULL,
    name            STRING NOT NULL,
    source          STRING NOT NULL,
    suffix          STRING NOT NULL,
    size_bytes      BIGINT NOT NULL,
    status          STRING NOT NULL COMMENT 'of the dataset; DELETED for the moment before the row goes',
    created_at      TIMESTAMP NOT NULL,
    updated_at      TIMESTAMP NOT NULL,
    options_json    STRING NOT NULL,
    roles_json      STRING NOT NULL,
    profile_json    STRING NOT NULL,
    draft_spec_json STRING NOT NULL,
    row_count       BIGINT NOT NULL,
    series_count    BIGINT NOT NULL,
    uploaded_at     TIMESTAMP,
    panel_folder    STRING NOT NULL,
    version         BIGINT NOT NULL,
    write_id        STRING NOT NULL
)
USING DELTA
CLUSTER BY (owner, created_at)
TBLPROPERTIES (
    'delta.enableChangeDataFeed' = 'true',
    'delta.enableDeletionVectors' = 'true'
)
