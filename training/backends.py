"""Where the units of a run are computed, and the choice of it."""

from __future__ import annotations

import os
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING

from training.errors import ConfigError

if TYPE_CHECKING:
    from training.engine import Backend


class Place(StrEnum):
    """Where units are computed. The numbers are the same everywhere."""

    AUTO = "auto"  # on Spark in a job on Databricks, otherwise here
    LOCAL = "local"  # in processes of this machine
    SPARK = "spark"  # on the executors of the Spark session this process has or can make


def backend_for(place: Place, *, cores: int) -> Backend:
    """The backend for a place.

    Raises:
        ConfigError: Spark is asked for and not installed.
    """
    has_spark = find_spec("pyspark") is not None
    if place is Place.AUTO:
        place = Place.SPARK if has_spark and "DATABRICKS_RUNTIME_VERSION" in os.environ else Place.LOCAL
    if place is Place.LOCAL:
        from training.pool import Pool

        return Pool(cores)
    if not has_spark:
        raise ConfigError("There is no Spark here.", remedy="Choose --engine local, or install pyspark.")
    from training.spark import SparkPass

    return SparkPass(cores=cores)
