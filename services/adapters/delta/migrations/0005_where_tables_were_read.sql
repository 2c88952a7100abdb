ALTER TABLE {datasets} ADD COLUMNS (origin_json STRING COMMENT 'of a table, where and when its rows were read; NULL as for a file')
