#!/usr/bin/env bash
# Compile the three .in files into pinned lists (`make lock`); each later list is constrained by the earlier ones.
# uv repeats the marker of the environments named in pyproject.toml on every line; only what differs is kept.
# `make lock ARGS=--upgrade` moves every version forward.
set -euo pipefail
cd "$(dirname "$0")/.."
python311="python_full_version < '3.12' and "
not_pypy="implementation_name != 'PyPy' and "
cpython="platform_python_implementation == 'CPython' and "
both="(sys_platform == 'darwin' or sys_platform == 'linux')"
lock() {
  "${UV:-.venv/bin/uv}" pip compile --quiet --universal --python-version 3.11 --no-header --annotation-style line \
    ${ARGS:-} "requirements/$1.in" -o "$2"
  sed -i.bak -e "s/$python311//; s/$not_pypy//; s/$cpython//; s/ ; $both//" "$2" && rm "$2.bak"
}
lock app requirements.txt
lock training requirements/training.txt
lock dev requirements/dev.txt
