ALTER TABLE {jobs} ADD COLUMNS (size STRING COMMENT 'of the machines, chosen by the user; NULL leaves it to the app')
