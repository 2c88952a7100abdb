"""The bundle is right in every way it can be put together, and each rule about it catches what it is for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.domain.compute import LTS_ML_RUNTIME, NODE_TYPES, Cloud
from tools.bundle import types
from tools.bundle.__main__ import main
from tools.bundle.access import PAGE
from tools.bundle.files import _NEEDED
from tools.bundle.model import load
from tools.bundle.rules import RULES, VARIANTS, problems

ROOT = Path(__file__).resolve().parents[2]
APP = "resources/forecast.app.yml"
POLICY = "resources/compute/job_cluster.cluster_policy.yml"
POOL = "resources/compute/pool.instance_pool.yml"
CLUSTER = "resources/compute/dedicated.cluster.yml"
WAREHOUSE = "resources/warehouse.sql_warehouse.yml"
VOLUME = "resources/files.volume.yml"
EXPERIMENT = "resources/runs.experiment.yml"

Fault = Callable[[Path], None]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy with nothing that the rules don't look at."""
    for path in ("databricks.yml", "app.yaml", ".gitignore", PAGE, "requirements.txt", "requirements/training.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    shutil.copytree(ROOT / "resources", tmp_path / "resources")
    for path in _NEEDED:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    return tmp_path


def replaced(file: str, old: str, new: str) -> Fault:
    """An edit of a file; it has to change something."""

    def edit(root: Path) -> None:
        text = (root / file).read_text(encoding="utf-8")
        assert old in text, f"{file} does not hold {old!r} any more"
        (root / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    return edit


def written(file: str, text: str) -> Fault:
    return lambda root: (root / file).write_text(text, encoding="utf-8") and None


def large(root: Path) -> None:
    with (root / "services/large.parquet").open("wb") as file:
        file.truncate(11 * 1024 * 1024)


PRINCIPAL = "        - service_principal_name: ${resources.apps.forecast.service_principal_client_id}\n"
FAULTS: list[tuple[str, str, Fault]] = [
    ("loads", "is no YAML", replaced(APP, "resources:", "resources: [")),
    ("loads", "given twice", replaced(APP, "      lifecycle:", "      name: other\n      lifecycle:")),
    ("loads", "matches no file", replaced("databricks.yml", "job_cluster.cluster_policy.yml", "cluster.yml")),
    ("loads", "has the key of", replaced(VOLUME, "    files:", "    tables:")),
    ("loads", "has the key of", lambda root: shutil.copy(root / APP, root / "resources/other.app.yml") and None),
    ("loads", "can't be read", lambda root: (root / "app.yaml").unlink()),
    ("typed", "'warehouse_typ'", replaced(WAREHOUSE, "warehouse_type", "warehouse_typ")),
    ("typed", "CAN_RUN", replaced(WAREHOUSE, "level: CAN_USE", "level: CAN_RUN")),
    ("typed", "no kind of resource", replaced(WAREHOUSE, "sql_warehouses:", "warehouses:")),
    ("head", "bundle.name", replaced("databricks.yml", "  name: finance-forecast\n", "")),
    ("head", "bundle.engine", replaced("databricks.yml", "engine: direct", "engine: terraform")),
    ("modes", "mode is not set", replaced("databricks.yml", "    mode: development\n", "")),
    ("modes", "no workspace.root_path", replaced("databricks.yml", "root_path:", "file_path:")),
    ("stateful", "volumes.files", replaced(VOLUME, "${var.keep_data}", "false")),
    ("stateful", "not true in prod", replaced("databricks.yml", "      keep_data: false\n  prod:\n",
                                              "  prod:\n    variables:\n      keep_data: false\n")),
    ("dangling", "${var.catalogue}", replaced("resources/tables.schema.yml", "${var.catalog}", "${var.catalogue}")),
    ("dangling", "resource, volumes.data", replaced(EXPERIMENT, "volumes.files", "volumes.data")),
    ("dangling", "names a field", replaced(APP, "${resources.sql_warehouses.warehouse.id}",
                                           "${resources.sql_warehouses.warehouse.key}")),
    ("dangling", "no reference that the CLI knows", replaced(APP, "${var.app_name}", "${vars.app_name}")),
    ("dangling", "overrides a variable", replaced("databricks.yml", "      keep_data: false", "      keep_dat: false")),
    ("unused", "variables.spare", replaced("databricks.yml", "variables:\n",
                                           "variables:\n  spare:\n    description: none\n    default: 1\n")),
    ("undescribed", "variables.users_group has no default", replaced("databricks.yml", "default: users", "default:")),
    ("undescribed", "variables.catalog has no default", replaced("databricks.yml", "    default: main\n", "")),
    ("cycles", "apps.forecast", replaced(CLUSTER, "value: ${var.app_name}",
                                         "value: ${resources.clusters.dedicated.cluster_name}")),
    ("app_name", "in dev", replaced("databricks.yml", "finance-forecast-dev", "finance_forecast_dev")),
    ("app_name", "in prod", replaced("databricks.yml", "default: finance-forecast", f"default: {'f' * 31}")),
    ("app_starts", "leaves the app stopped", replaced(APP, "started: true", "started: false")),
    ("app_file", "permissions is no key", replaced("app.yaml", "env:", "permissions: []\nenv:")),
    ("app_file", "no shell reads it", replaced("app.yaml", "app.py]", "app.py, --server.port, $DATABRICKS_APP_PORT]")),
    ("app_file", "no list of words", replaced("app.yaml", "[streamlit, run, app.py]", "streamlit run app.py")),
    ("app_file", "nothing is put in", replaced("app.yaml", "value: unity_catalog", "value: ${var.store}")),
    ("env_entries", "valueFrom, which is ignored", replaced(APP, "value_from: warehouse", "valueFrom: warehouse")),
    ("env_entries", "value_from, which is ignored", replaced("app.yaml", "valueFrom: volume", "value_from: volume")),
    ("env_entries", "neither value", replaced("app.yaml", "    value: unity_catalog", "    value: ''")),
    ("env_entries", "is given at", replaced(APP, "          - name: MAX_ACTIVE_JOBS\n",
                                            "          - name: STATE_STORE_TYPE\n")),
    ("env_is_restated", "FORECAST_VOLUME", replaced(APP, "          - name: FORECAST_VOLUME\n"
                                                    "            value_from: volume\n", "")),
    ("env_is_restated", "command differs", replaced(APP, "[streamlit, run, app.py]", "[streamlit, run, main.py]")),
    ("value_from", "'warehouses'", replaced("app.yaml", "valueFrom: warehouse", "valueFrom: warehouses")),
    ("value_from", "'experiment'", replaced(APP, "        - name: experiment", "        - name: runs")),
    ("env_is_read", "no setting", replaced("app.yaml", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT")),
    ("env_is_read", "would take its place", replaced("app.yaml", "env:\n",
                                                     "env:\n  - name: DATABRICKS_HOST\n    value: inherit\n")),
    ("env_is_legal", "a disk that goes", replaced("app.yaml", "value: unity_catalog", "value: sqlite")),
    ("env_is_legal", "above MAX_ACTIVE_JOBS", replaced("databricks.yml", "max_active_jobs: 5", "max_active_jobs: 2")),
    ("env_is_legal", "needs COMPUTE_MODE", replaced("resources/compute/serverless.yml", "value: serverless",
                                                    "value: serverless\n              - name: CLUSTER_POLICY_ID\n"
                                                    "                value: abc")),
    ("grants_last", "sql_warehouses.warehouse", replaced(WAREHOUSE, f"{PRINCIPAL}          level: CAN_USE\n", "")),
    ("grants_last", "CAN_READ, and the app", replaced(EXPERIMENT, "level: CAN_EDIT", "level: CAN_READ")),
    ("grants_last", "no READ_VOLUME", replaced(VOLUME, "[READ_VOLUME, WRITE_VOLUME]", "[WRITE_VOLUME]")),
    ("grants_last", "cluster_policies", replaced(POLICY, PRINCIPAL, "        - group_name: users\n")),
    ("named", "nobody", replaced(WAREHOUSE, "        - group_name: ${var.users_group}\n          level",
                                 "        - level")),
    ("named", "Nothing on the volume", replaced(VOLUME, "[READ_VOLUME, WRITE_VOLUME]", "[]")),
    ("explained", "has no reason", replaced(WAREHOUSE, "        # why: resizes and stops it\n", "")),
    ("least_privilege", "CAN_MANAGE", replaced(WAREHOUSE, "level: CAN_USE", "level: CAN_MANAGE")),
    ("least_privilege", "ALL_PRIVILEGES", replaced("resources/tables.schema.yml", "[USE_SCHEMA", "[ALL_PRIVILEGES")),
    ("used", "CLUSTER_POLICY_ID is not", replaced(POLICY, "value: ${resources.cluster_policies", "value: ${")),
    ("used", "INSTANCE_POOL_ID is not", replaced(POOL, "INSTANCE_POOL_ID", "CLUSTER_INSTANCE_PROFILE")),
    ("used", "COMPUTE_MODE is not set", replaced("databricks.yml", "  - resources/compute/job", "  # - ")),
    ("used", "COMPUTE_MODE is dedicated", replaced(CLUSTER, "- name: DEDICATED_CLUSTER_NAME", "- name: ADMIN_USERS")),
    ("policy_fits", "may be 0 to '4'", replaced("databricks.yml", "    default: 4\n", "    default: '4'\n")),
    ("policy_fits", "rules autotermination_minutes", replaced(POLICY, "cluster_type: {",
                                                             "autotermination_minutes: {type: fixed, value: 30}\n"
                                                             "        cluster_type: {")),
    ("policy_fits", "may be all-purpose", replaced(POLICY, "value: job}", "value: all-purpose}")),
    ("policy_fits", "data_security_mode", replaced(POLICY, "value: SINGLE_USER", "value: NONE")),
    ("policy_fits", "num_workers is forbidden", replaced(POLICY, "{type: range, minValue: 0",
                                                         "{type: forbidden, minValue: 0")),
    ("policy_fits", "autoscale.min_workers must be given", replaced(POLICY, "min_workers: {type: forbidden}",
                                                                    "min_workers: {type: range, minValue: 1}")),
    ("policy_fits", "spark_version", replaced(POLICY, 'value: "${var.runtime}"', "value: 16.4.x-scala2.13")),
    ("policy_fits", "num_workers may be 1 to", replaced(POLICY, "minValue: 0", "minValue: 1")),
    ("policy_fits", "node_type_id may be", replaced("resources/cloud/azure.yml", "Standard_D4ds_v5, ", "")),
    ("policy_fits", "unknown type", replaced(POLICY, "{type: range", "{type: between")),
    ("clusters", "num_workers or autoscale", replaced(CLUSTER, "num_workers: ${var.max_workers}\n", "\n")),
    ("clusters", "no spark_version", replaced(CLUSTER, "      spark_version: ${var.runtime}\n", "")),
    ("clusters", "no Unity Catalog", replaced(CLUSTER, "      data_security_mode: SINGLE_USER\n", "")),
    ("clusters", "not the app's principal", replaced(CLUSTER, "single_user_name: ${resources.apps.forecast",
                                                     "single_user_name: ${resources.apps.forecast.url} # ${")),
    ("clusters", "costs for ever", replaced(CLUSTER, "      autotermination_minutes: ${var.auto_terminate_minutes}\n",
                                            "")),
    ("clusters", "DEDICATED_CLUSTER_NAME", replaced(CLUSTER, "[dev ${workspace.current_user.short_name}] ", "")),
    ("file_size", "11.0 MB", large),
    ("private_files", ".finance_forecast/state.db", replaced("databricks.yml", "    - .finance_forecast/**\n", "")),
    ("private_files", ".env", replaced("databricks.yml", "    - .env*\n", "")),
    ("needed_files", "requirements/training.txt", replaced("databricks.yml", "    - tests/**\n",
                                                            "    - requirements/**\n    - tests/**\n")),
    ("needed_files", "app.py", lambda root: (root / "app.py").unlink()),
    ("requirements", "0.1 in runs", replaced("requirements/training.txt", "\npandas==2", "\npandas==0.1 # 2")),
    ("requirements", "is not pinned", replaced("requirements.txt", "streamlit==", "streamlit>=")),
    ("requirements", "is a library of training", replaced("requirements.txt", "pandas==", "prophet==1.3.0\npandas==")),
]  # fmt: skip


def test_the_bundle_is_right() -> None:
    assert [str(problem) for _, problem in problems(ROOT)] == []


def test_a_copy_is_right_so_that_each_fault_is_what_is_caught(bundle: Path) -> None:
    assert [str(problem) for _, problem in problems(bundle)] == []


@pytest.mark.parametrize(("rule", "words", "fault"), FAULTS, ids=[f"{rule}: {words}" for rule, words, _ in FAULTS])
def test_a_faulty_bundle_is_caught(bundle: Path, rule: str, words: str, fault: Fault) -> None:
    fault(bundle)
    only = {rule: RULES[rule]} if rule in RULES else {}
    said = [str(problem) for name, problem in problems(bundle, only) if name == rule]
    assert any(words in line for line in said), said


def test_another_runtime_reaches_the_policy_and_what_the_app_asks_for(bundle: Path) -> None:
    replaced("databricks.yml", LTS_ML_RUNTIME, "18.1.x-cpu-ml-scala2.13")(bundle)
    assert [str(problem) for _, problem in problems(bundle)] == []


def test_every_rule_has_a_faulty_bundle() -> None:
    proven = {rule for rule, _, _ in FAULTS}
    elsewhere = {"schema"}  # asks a file that only the CLI makes: tests of its own
    assert proven | elsewhere == {*RULES, "loads"}


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The paths of everything in a document."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(inner, (*path, key))


FILES = ["databricks.yml", "app.yaml", *(path.relative_to(ROOT).as_posix() for path in ROOT.glob("resources/**/*.yml"))]
EVERYWHERE = [
    (file, path) for file in FILES for path in places(yaml.safe_load((ROOT / file).read_text(encoding="utf-8")))
]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(EVERYWHERE), value=st.sampled_from([None, ["x"], {"x": "y"}, "x", 7, True]))
def test_whatever_a_file_holds_the_check_does_not_fail(
    bundle: Path, place: tuple[str, tuple[str | int, ...]], value: object
) -> None:
    file, path = place
    text = (bundle / file).read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    (bundle / file).write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    try:
        assert all(rule in {*RULES, "loads"} for rule, _ in problems(bundle))
    finally:
        (bundle / file).write_text(text, encoding="utf-8")


SCHEMA = {
    "$defs": {
        "resources": {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {
                        "apps": {"additionalProperties": {"properties": {"name": {"pattern": r"^\p{L}[\p{L}-]*$"}}}}
                    },
                    "additionalProperties": False,
                }
            ]
        }
    },
    "properties": {"resources": {"$ref": "#/$defs/resources"}},
}


def test_the_schema_of_the_cli_is_asked_where_there_is_one(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = bundle.parent / "schema.json"
    file.write_text(json.dumps(SCHEMA), encoding="utf-8")
    deployment = load(bundle).deployment("dev")
    monkeypatch.delenv(types.SCHEMA, raising=False)
    assert list(types.schema(deployment)) == []
    monkeypatch.setenv(types.SCHEMA, str(file))
    assert list(types.schema(deployment)) == [], "kinds that an older schema does not know are no fault"
    replaced("databricks.yml", "finance-forecast-dev", "9-forecast")(bundle)
    said = [str(problem) for problem in types.schema(load(bundle).deployment("dev"))]
    assert len(said) == 1
    assert "resources.apps.forecast.name" in said[0]
    assert said[0].startswith(f"{APP}:")


def test_a_problem_names_file_line_and_remedy(bundle: Path) -> None:
    replaced(WAREHOUSE, "        # why: resizes and stops it\n", "")(bundle)
    line = 1 + (bundle / WAREHOUSE).read_text(encoding="utf-8").splitlines().index(
        "        - group_name: ${var.admin_group}"
    )
    assert [str(problem) for _, problem in problems(bundle)] == [
        f"{WAREHOUSE}:{line}: CAN_MANAGE on the SQL warehouse for `admin_group` has no reason. "
        "Write # why: … in the line above it."
    ]


def test_the_table_of_permissions_is_that_of_the_bundle(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], root=bundle) == 0
    replaced(WAREHOUSE, "# why: resizes and stops it", "# why: turns it off")(bundle)
    assert main([], root=bundle) == 1
    assert "make permissions" in capsys.readouterr().err
    assert main(["--write-permissions"], root=bundle) == 0
    assert "| turns it off |" in (bundle / PAGE).read_text(encoding="utf-8")
    assert main([], root=bundle) == 0


def test_every_file_of_the_bundle_is_checked() -> None:
    options = {path for files in VARIANTS.values() for path in files or ()}
    there = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("resources/*/*.yml")}
    assert there - options == {"resources/outside/grants.yml"}
    named = (ROOT / "databricks.yml").read_text(encoding="utf-8")
    assert [path for path in sorted(options) if f"- {path}\n" not in named] == []


@pytest.mark.parametrize(
    ("cloud", "options"),
    [(Cloud.AWS, ()), (Cloud.AZURE, ("resources/cloud/azure.yml",)), (Cloud.GCP, ("resources/cloud/gcp.yml",))],
)
def test_node_types_and_runtime_are_those_of_the_app(cloud: Cloud, options: tuple[str, ...]) -> None:
    deployment = load(ROOT, (POLICY, *options)).deployment("prod")
    definition = dict(deployment.resources("cluster_policies"))["job_cluster"].get("definition")
    assert definition is not None
    assert definition.plain()["node_type_id"]["values"] == list(NODE_TYPES[cloud].values())
    assert definition.text("spark_version", "value") == LTS_ML_RUNTIME
