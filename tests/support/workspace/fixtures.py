"""An executor on the test workspace whose runs are scripts of the test's own."""

from __future__ import annotations

from datetime import timedelta

from services.adapters.databricks.cluster import ClusterSettings
from services.adapters.databricks.executor import DatabricksExecutor, RunSettings
from services.adapters.databricks.package import Published
from services.adapters.databricks.workspace import Workspace
from services.domain.compute import ComputeMode, ComputePlan, Size
from tests.support.workspace.rest_workspace import RestWorkspace

PLAN = ComputePlan(
    mode=ComputeMode.JOB_CLUSTER,
    size=Size.S,
    node_type="m5d.xlarge",
    workers=0,
    is_spot=False,
    runtime="17.3.x-cpu-ml-scala2.13",
    minutes=7.0,
    cost_usd=0.05,
    reason="a test",
)
_RUN_THE_PANEL = "import sys, textwrap; exec(textwrap.dedent(sys.argv[sys.argv.index('--panel') + 1]))"


def scripts_on(workspace: RestWorkspace, *, app: str = "forecast", **settings: object) -> DatabricksExecutor:
    """An executor whose runs execute the text in ``panel_uri``."""
    entry_point = f"{workspace.volume}/scripts/main.py"
    script = workspace.tree.path(entry_point)
    script.parent.mkdir(exist_ok=True)
    script.write_text(_RUN_THE_PANEL)
    given = {"cluster": ClusterSettings(), "start_allowance": timedelta(0)} | settings
    return DatabricksExecutor(
        Workspace(workspace.config),
        package=lambda: Published(entry_point=entry_point, requirements=""),
        settings=RunSettings(app=app, **given),  # type: ignore[arg-type]
    )
