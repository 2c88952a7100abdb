"""A Databricks workspace on loopback, for tests and for trying cluster mode on a laptop.

The official clients use it unpatched. What they are told follows the public API documentation; runs are real
processes, files real files, MLflow is MLflow's own server.
"""
