"""A table read by Spark is the panel that its file would have become, and is judged like one."""

from __future__ import annotations

import signal
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pandas as pd
import pytest

from tests.support.spark import session
from training import artifacts
from training.arguments import parse
from training.errors import ConfigError, DataError
from training.lake import panel_of_table, require_usable
from training.main import main
from training.panel import build_panel
from training.spec import ColumnRoles, Covariate, CovariateKind
from training.tables import read_table, sniff

ROLES = ColumnRoles(
    time="month", target="net sales", series=("shop", "account"),
    covariates=(Covariate(name="promoted", kind=CovariateKind.PAST),),
)  # fmt: skip
TABLE = "spark_catalog.default.orders_2024"


@pytest.fixture(scope="module")
def table():
    spark = session()
    rows = [
        (date(2021 + n // 12, 1 + n % 12, 1), Decimal(f"{100 + n + 10 * account}.50"), shop, Decimal(f"{account}.10"),
         n % 3 == 0, datetime(2021, 1, 1, tzinfo=UTC) + timedelta(days=n), ["nested"])
        for shop in ("B", "A") for account in (4, 5) for n in range(36)
    ]  # fmt: skip
    frame = spark.createDataFrame(
        rows,
        "month date, `net sales` decimal(12,2), shop string, account decimal(4,2), promoted boolean, at timestamp, "
        "nested array<string>",
    )
    frame.repartition(5).write.mode("overwrite").format("parquet").saveAsTable(TABLE)
    yield frame
    spark.sql(f"DROP TABLE {TABLE}")


def test_a_table_becomes_the_panel_of_its_file(table, tmp_path):
    file = tmp_path / "orders.parquet"
    table.drop("nested").toPandas().to_parquet(file)
    uploaded = build_panel(read_table(file, sniff(file, file.name), keys=ROLES.series), ROLES)
    pd.testing.assert_frame_equal(panel_of_table(TABLE, ROLES), uploaded)


def test_moments_are_read_in_utc_whatever_the_cluster_s_zone(table):
    session().conf.set("spark.sql.session.timeZone", "Australia/Sydney")
    moments = panel_of_table(TABLE, ROLES.model_copy(update={"time": "at", "covariates": ()}))
    assert moments["ds"].dt.tz is None
    assert session().conf.get("spark.sql.session.timeZone") == "UTC"


@pytest.mark.parametrize(("words", "freq"), [([], "D"), (["--day-first"], "MS")])
def test_dates_as_text_are_read_as_the_app_read_them(words, freq):
    spark, name = session(), "spark_catalog.default.texts"
    spark.createDataFrame([(f"01/{n:02}/2024", float(n)) for n in range(1, 13)], "t string, y double").write.mode(
        "overwrite"
    ).format("parquet").saveAsTable(name)
    args = parse(["--table", name, "--spec", "s", "--output", "o", *words])
    panel = panel_of_table(args.table, ColumnRoles(time="t", target="y"), day_first=args.day_first)
    spark.sql(f"DROP TABLE {name}")
    assert list(panel["ds"]) == list(pd.date_range("2024-01-01", periods=12, freq=freq))


def test_a_table_that_can_t_be_read_names_the_grant_to_ask_for(table):
    with pytest.raises(DataError, match=r"can't be read on the cluster: .*TABLE_OR_VIEW_NOT_FOUND.*has SELECT on it"):
        panel_of_table("spark_catalog.default.none", ROLES)


def test_a_version_is_asked_for_and_a_table_without_versions_has_none(table):
    with pytest.raises(DataError, match=r"at version 3 on the cluster: .*[Tt]ime.?travel"):
        panel_of_table(TABLE, ROLES, version=3)


def test_what_blocks_an_upload_ends_the_run(table):
    panel = panel_of_table(TABLE, ROLES)
    require_usable(panel, ROLES, as_of=date(2026, 1, 1))
    with pytest.raises(DataError, match="net sales"):
        require_usable(panel.assign(y=float("nan")), ROLES, as_of=date(2026, 1, 1))


def test_the_command_line_forecasts_a_table(table, tmp_path, capsys):
    before = signal.getsignal(signal.SIGTERM)
    words = [
        "--table", TABLE, "--time-col", "month", "--target-col", "net sales", "--series-cols", "shop", "account",
        "--horizon", "3", "--models", "SeasonalNaive", "--windows", "1", "--cores", "1", "--engine", "local",
        "--output", str(tmp_path / "out"),
    ]  # fmt: skip
    try:
        assert main(words) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    forecast = pd.read_parquet(tmp_path / "out" / artifacts.FORECAST)
    assert forecast["unique_id"].nunique() == 4
    assert "Reading spark_catalog.default.orders_2024" in capsys.readouterr().err


def test_without_spark_the_command_line_says_where_to_run_it(tmp_path, monkeypatch):
    from training import main as module

    monkeypatch.setattr(module, "find_spec", lambda name: None)
    args = parse(["--table", "a.b.c", "--time-col", "t", "--target-col", "y", "--horizon", "1", "--output", "out"])
    with pytest.raises(ConfigError, match=r"no Spark here to read the table a\.b\.c"):
        module._read(args)


def test_one_source_at_a_time():
    with pytest.raises(SystemExit):
        main(["--table", "a.b.c", "--data", "x.csv", "--output", "out"])
