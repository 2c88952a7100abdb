"""Checks the deployment bundle without a workspace and without the Databricks CLI (``make bundle``)."""
