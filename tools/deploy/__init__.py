"""What is left to do after ``databricks bundle deploy``, and whether the app then works."""
