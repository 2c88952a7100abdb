"""A Databricks workspace on loopback, which the official clients talk to unpatched."""
