-- NULL where the file came with the record itself; a copy made to change columns keeps the day of its original.

ALTER TABLE datasets ADD COLUMN uploaded_at TEXT;
