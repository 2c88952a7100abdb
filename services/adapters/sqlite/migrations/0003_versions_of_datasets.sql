-- panel_folder is empty for panels that were kept before: theirs is the dataset's own folder.

ALTER TABLE datasets ADD COLUMN panel_folder TEXT NOT NULL DEFAULT '';
ALTER TABLE datasets ADD COLUMN version INTEGER NOT NULL DEFAULT 0;
