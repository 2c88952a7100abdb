"""Units on a Spark cluster: one pass over the buckets, with the fits over the whole panel beside it on the driver.

Executors read buckets from the checkpoint folder and write results into it, so it lies where all machines
see it, such as a Unity Catalog volume. Only the DataFrame API is used: serverless compute has nothing else.
``pyspark`` belongs to the cluster's runtime and is imported only here and in ``training.lake``.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import pandas as pd
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from training.checkpoints import Checkpoints
from training.errors import TrainingError
from training.models.base import Scope
from training.pool import Pool
from training.units import Unit
from training.work import Common

if TYPE_CHECKING:
    from pyspark.sql.pandas._typing import PandasMapIterFunction

_ROOT: Final = Path(__file__).resolve().parents[1]  # what executors need on their path to import us
_LISTED_EVERY_S: Final = 2.0  # a listing of a volume takes a good part of a second
_SCHEMA: Final = "bucket long, n_units long, seconds double"


class SparkPass:
    """Runs units of local models as one Spark job, with one task for each bucket, and the others on the driver.

    Args:
        cores: of the driver.
        session: the one of this process when not given.
    """

    def __init__(self, *, cores: int, session: SparkSession | None = None) -> None:
        self._cores = cores
        self._spark = session or spark_session()

    def run(
        self,
        units: Sequence[Unit],
        common: Common,
        *,
        done: Callable[[Unit, float | None], None],
        tick: Callable[[str | None], None],
    ) -> None:
        """As ``Backend.run``.

        Raises:
            TrainingError: the job failed on the cluster, or a process on the driver was killed.
        """
        spread = [unit for unit in units if unit.scope is Scope.SERIES]
        panel = [unit for unit in units if unit.scope is Scope.PANEL]
        job = _Job(self._spark, spread, common)
        watch = _Watch(spread, common, done)

        def look(step: str | None) -> None:
            tick(None if watch.is_open else step)
            watch.look()
            job.check()

        try:
            driver = Pool(self._cores)
            driver.run(panel, common, done=done, tick=look)
            while not job.is_over(within_s=1.0):
                look(None)
            job.check()
            watch.look(at_once=True)
            watch.demand_all()
        except BaseException:  # a signal, the time limit, a lost machine: nobody waits for what still runs
            job.interrupt()
            raise


class _Job:
    """A Spark job in a thread of its own."""

    def __init__(self, spark: SparkSession, units: Sequence[Unit], common: Common) -> None:
        self._spark = spark
        self._tag = f"finance-forecast-{uuid4().hex}"
        self._outcome: Future[None] = Future()
        by_bucket: dict[int, list[Unit]] = defaultdict(list)
        for unit in units:
            by_bucket[unit.bucket].append(unit)
        # The dearest first, so that cores end together.
        tasks = sorted(by_bucket.values(), key=lambda group: -sum(unit.cost_s for unit in group))
        threading.Thread(target=self._run, args=(tasks, common), name="spark", daemon=True).start()

    def is_over(self, *, within_s: float) -> bool:
        return bool(wait([self._outcome], timeout=within_s).done)

    def check(self) -> None:
        """Raise what the job failed with, if it did."""
        if not self._outcome.done():
            return
        try:
            self._outcome.result()
        except spark_errors() as exc:
            raise TrainingError(
                f"The cluster could not finish the models ({first_line(exc)}).",
                remedy="Retry, on a larger cluster if memory ran out; finished parts are kept.",
            ) from exc

    def interrupt(self) -> None:
        # Runtimes before Spark 4 can't: there the job ends with this process.
        with contextlib.suppress(*spark_errors(), NotImplementedError, AttributeError):
            self._spark.interruptTag(self._tag)

    def _run(self, tasks: Sequence[Sequence[Unit]], common: Common) -> None:
        try:
            with contextlib.suppress(NotImplementedError, AttributeError):
                self._spark.addTag(self._tag)
            if tasks:
                n = len(tasks)
                numbers = self._spark.range(0, n, 1, numPartitions=n)
                numbers.mapInPandas(_task(str(_ROOT), pickle.dumps((tasks, common))), _SCHEMA).collect()
        # The border of this thread: whatever it is, the thread that waits raises it.
        except BaseException as exc:  # noqa: BLE001  # set_exception() hands it on
            self._outcome.set_exception(exc)
        else:
            self._outcome.set_result(None)


def _task(root: str, payload: bytes) -> PandasMapIterFunction:
    """What an executor does with the numbers of the tasks it gets.

    The function travels by value and refers to nothing of ours, for an executor finds our modules only once
    their folder is on its path.
    """

    def run_tasks(batches: Iterable[pd.DataFrame]) -> Iterable[pd.DataFrame]:
        import pickle
        import sys

        if root not in sys.path:
            sys.path.insert(0, root)
        from training.work import run_units, single_threaded

        single_threaded()
        tasks, common = pickle.loads(payload)  # noqa: S301  our own, made by the driver of this run
        for batch in batches:
            yield run_units([tasks[number] for number in batch["id"]], common)

    return run_tasks


class _Watch:
    """Tells of units as their results appear in the folder: a cluster has no other way to say so while it works."""

    def __init__(self, units: Sequence[Unit], common: Common, done: Callable[[Unit, float | None], None]) -> None:
        self._open = {unit.key: unit for unit in units}
        self._checkpoints = Checkpoints(common.folder)
        self._done = done
        self._looked = time.monotonic()

    @property
    def is_open(self) -> bool:
        return bool(self._open)

    def look(self, *, at_once: bool = False) -> None:
        if not at_once and time.monotonic() - self._looked < _LISTED_EVERY_S:
            return
        for key in sorted(self._checkpoints.finished() & self._open.keys()):
            self._done(self._open.pop(key), None)
        self._looked = time.monotonic()

    def demand_all(self) -> None:
        if self._open:
            raise TrainingError(
                f"The cluster ended, but {len(self._open):,} parts have no result here.",
                remedy="Keep the checkpoints where driver and executors see the same files, such as a volume.",
            )


def spark_errors() -> tuple[type[Exception], ...]:
    """Every class in which Spark says that something failed."""
    if find_spec("py4j") is None:  # Spark Connect has no JVM beside it
        return (PySparkException,)
    from py4j.protocol import Py4JError

    return (PySparkException, Py4JError)


def first_line(exc: BaseException) -> str:
    """What an error says, without the trace that Spark puts behind it."""
    return next((line.strip() for line in str(exc).splitlines() if line.strip()), type(exc).__name__)


def spark_session() -> SparkSession:
    """The cluster's session, or a new one whose workers run this interpreter and not the first one on the path."""
    if SparkSession.getActiveSession() is None:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return SparkSession.builder.getOrCreate()
