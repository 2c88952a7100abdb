"""Benchmarks that anyone can repeat: ``python -m benchmarks --help``, or ``make bench`` for all of them.

Numbers go as JSON into ``benchmarks/results`` (not in git); ``docs/benchmarks.md`` is rendered from them.
"""
