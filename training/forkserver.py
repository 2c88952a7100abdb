"""The clean process that worker processes are forked from, with slow libraries imported once and ahead of time."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import os
from collections.abc import Iterable
from multiprocessing.context import ForkServerContext
from typing import Final

from training.models import modules_of
from training.spec import ModelName

_WORK: Final = "training.work"  # by name: it imports what this process may not need yet
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def start_fork_server(models: Iterable[ModelName]) -> ForkServerContext:
    """Start it if it does not run yet, and don't wait for it.

    Called as soon as the models are known: it imports their libraries on another core while this process
    reads and prepares the data. Once it runs, later calls change nothing.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_WORK, *modules_of(models)])
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))  # libraries read it when they are loaded, workers inherit it
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return context
