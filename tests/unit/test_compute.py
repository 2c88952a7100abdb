"""What a run computes on, and why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.compute import Cloud, ComputeMode, ComputeSettings, Size, Workload, plan_compute
from services.domain.failure import Cause
from tests.support.world import make_spec


def workload(cpu_s: float = 60.0, *, driver_s: float = 0.0, rows: int = 10_000) -> Workload:
    return Workload(
        n_rows=rows, n_series=rows // 100, n_models=4, n_windows=3, spread_s=cpu_s - driver_s, driver_s=driver_s
    )


AWS = ComputeSettings()
HUGE = workload(200_000)
workloads = st.builds(
    lambda cpu, share, rows: workload(cpu, driver_s=cpu * share, rows=rows),
    st.floats(0, 1e7),
    st.floats(0, 1),
    st.integers(1, 10**9),
)


def test_little_work_gets_the_smallest_machine_alone() -> None:
    plan = plan_compute(workload(), AWS)
    assert (plan.size, plan.node_type, plan.workers, plan.is_spot) == (Size.S, "m5d.xlarge", 0, False)
    assert 5 < plan.minutes < 10
    assert 0 < plan.cost_usd < 0.1
    assert "size S, one machine of 4 cores" in plan.reason
    assert "after about 6 min to start" in plan.reason
    pooled = plan_compute(workload(), ComputeSettings(instance_pool_id="pool"))
    assert "after about 2 min to start" in pooled.reason


@pytest.mark.parametrize(("cpu_min", "size"), [(60, Size.S), (120, Size.M), (500, Size.L), (5_000, Size.XL)])
def test_the_smallest_size_that_is_quick_enough_is_chosen(cpu_min: int, size: Size) -> None:
    plan = plan_compute(workload(cpu_min * 60), AWS)
    assert plan.size is size
    assert ("would compute for about" in plan.reason) == (size is not Size.S)


def test_rows_that_do_not_fit_need_a_larger_machine() -> None:
    plan = plan_compute(workload(rows=12_000_000), AWS)
    assert plan.size is Size.M
    assert "Size S has too little memory for 14 GB" in plan.reason


def test_work_of_one_model_over_all_series_does_not_call_for_workers() -> None:
    assert plan_compute(workload(120 * 60, driver_s=120 * 60), AWS).size is Size.M


@pytest.mark.parametrize(
    ("cloud", "node_type"),
    [(Cloud.AWS, "m5d.4xlarge"), (Cloud.AZURE, "Standard_D16ds_v5"), (Cloud.GCP, "n2-standard-16")],
)
def test_each_cloud_has_its_machines(cloud: Cloud, node_type: str) -> None:
    assert plan_compute(HUGE, ComputeSettings(cloud=cloud)).node_type == node_type


def test_settings_bound_the_workers_and_name_the_machines() -> None:
    plan = plan_compute(HUGE, ComputeSettings(max_workers=2, node_type="r5.4xlarge"))
    assert (plan.workers, plan.node_type) == (2, "r5.4xlarge")
    assert plan_compute(HUGE, ComputeSettings(min_workers=10, max_workers=20)).workers == 10
    assert plan_compute(HUGE, ComputeSettings(max_workers=0, min_workers=0)).workers == 0


def test_workers_are_spot_machines_unless_forbidden_or_pooled() -> None:
    assert plan_compute(HUGE, AWS).is_spot
    assert not plan_compute(HUGE, ComputeSettings(use_spot=False)).is_spot
    pooled = plan_compute(HUGE, ComputeSettings(instance_pool_id="p1"))
    assert (pooled.is_spot, pooled.node_type) == (False, "")
    assert pooled.minutes < plan_compute(HUGE, AWS).minutes


def test_a_user_may_choose_the_size() -> None:
    plan = plan_compute(workload(), AWS, size=Size.L)
    assert plan.size is Size.L
    assert "You chose this size" in plan.reason


def test_each_want_of_memory_means_the_next_size() -> None:
    sizes = [plan_compute(workload(), AWS, causes=[Cause.OUT_OF_MEMORY] * n).size for n in range(5)]
    assert sizes == [Size.S, Size.M, Size.L, Size.XL, Size.XL]
    assert (
        "An attempt on size S ran out of memory" in plan_compute(workload(), AWS, causes=[Cause.OUT_OF_MEMORY]).reason
    )


def test_after_a_lost_spot_machine_the_same_size_runs_on_demand() -> None:
    before, after = plan_compute(HUGE, AWS), plan_compute(HUGE, AWS, causes=[Cause.LOST, Cause.SPOT_LOSS])
    assert (before.size, before.is_spot, after.size, after.is_spot) == (Size.XL, True, Size.XL, False)
    assert after.cost_usd > before.cost_usd
    assert (before.can_avoid(Cause.SPOT_LOSS), after.can_avoid(Cause.SPOT_LOSS)) == (True, False)
    assert not before.can_avoid(Cause.OUT_OF_MEMORY)


@pytest.mark.parametrize("mode", [ComputeMode.SERVERLESS, ComputeMode.DEDICATED])
def test_machines_that_are_not_ours_to_choose_have_no_size(mode: ComputeMode) -> None:
    plan = plan_compute(HUGE, ComputeSettings(mode=mode), causes=[Cause.OUT_OF_MEMORY])
    assert (plan.size, plan.node_type, plan.workers) == (None, "", 0)
    assert not plan.can_avoid(Cause.OUT_OF_MEMORY)


@given(workloads, st.sampled_from(ComputeMode), st.booleans())
def test_any_workload_has_a_plan_with_time_cost_and_reason(load: Workload, mode: ComputeMode, spot: bool) -> None:
    plan = plan_compute(load, ComputeSettings(mode=mode, use_spot=spot))
    assert plan.minutes > 0
    assert plan.cost_usd > 0
    assert plan.reason.endswith(".")


@given(workloads)
def test_more_cores_are_never_slower(load: Workload) -> None:
    minutes = [plan_compute(load, ComputeSettings(max_workers=8), size=size).minutes for size in Size]
    assert minutes == sorted(minutes, reverse=True)


def test_a_spec_has_a_workload() -> None:
    load = Workload.of(make_spec(), n_rows=12_000, n_series=100)
    assert load.spread_s > 0
    assert load.driver_s > 0


@pytest.mark.parametrize("own", [{"node_type": "m6i.xlarge"}, {"instance_pool_id": "pool-1"}])
def test_an_estimate_for_prescribed_machines_says_what_it_was_made_for(own: dict[str, str]) -> None:
    load = Workload(n_rows=1, n_series=1, n_models=1, n_windows=1, spread_s=1, driver_s=0)
    assert "those of 4 cores and 16 GB" in plan_compute(load, ComputeSettings(**own)).reason  # type: ignore[arg-type]
    assert "those of" not in plan_compute(load, ComputeSettings()).reason
