"""Adapters of ``FileStore``."""
