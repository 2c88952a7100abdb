-- NULL leaves it to the app.

ALTER TABLE jobs ADD COLUMN size TEXT CHECK (size IN ('S', 'M', 'L', 'XL'));
