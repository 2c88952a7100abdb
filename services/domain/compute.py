"""What a run computes on: a size, machines and their number, with time, cost and the reason in words.

Pure: a workload and settings in, a plan out. Sizes, memory and prices are rules of thumb that rank machines;
a plan says "about" for that reason.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.domain.failure import Cause
from training.spec import ForecastSpec
from training.workload import FINISH_S, GLOBAL, START_UP_S, estimate


class ComputeMode(StrEnum):
    """What training runs on when it is delegated to Databricks."""

    JOB_CLUSTER = "job_cluster"  # made for the run, gone after it
    SERVERLESS = "serverless"  # Databricks' own machines, chosen by it
    DEDICATED = "dedicated"  # a cluster that exists, shared by all runs


class Cloud(StrEnum):
    """Whose machines they are."""

    AWS = "aws"
    AZURE = "azure"
    GCP = "gcp"


class Size(StrEnum):
    """How much of a cluster; in ascending order."""

    S = "S"
    M = "M"
    L = "L"
    XL = "XL"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """Machines of a size: all of one kind.

    Attributes:
        cores, memory_gb: of one machine.
        workers: 0 for a single machine that is driver and worker.
    """

    cores: int
    memory_gb: int
    workers: int


SHAPES: Final[Mapping[Size, _Shape]] = {
    Size.S: _Shape(cores=4, memory_gb=16, workers=0),
    Size.M: _Shape(cores=8, memory_gb=32, workers=0),
    Size.L: _Shape(cores=8, memory_gb=32, workers=4),
    Size.XL: _Shape(cores=16, memory_gb=64, workers=8),
}
NODE_TYPES: Final[Mapping[Cloud, Mapping[int, str]]] = {
    # By cores; 4 GB for each of them, with a local disk where the cloud has such machines everywhere.
    Cloud.AWS: {4: "m5d.xlarge", 8: "m5d.2xlarge", 16: "m5d.4xlarge"},
    Cloud.AZURE: {4: "Standard_D4ds_v5", 8: "Standard_D8ds_v5", 16: "Standard_D16ds_v5"},
    Cloud.GCP: {4: "n2-standard-4", 8: "n2-standard-8", 16: "n2-standard-16"},
}
LTS_ML_RUNTIME: Final = "17.3.x-cpu-ml-scala2.13"
_TARGET_MIN: Final = 20.0  # the smallest size that computes within this is enough
_CLUSTER_START_MIN: Final = 6.0  # machines, runtime and libraries
_WARM_START_MIN: Final = 2.0  # from a pool, serverless, or a cluster that runs: libraries only
_KB_PER_ROW: Final = 1.0  # of the panel and what is made of it, on the driver
_BASE_GB: Final = 2.0  # libraries, runtime
_USABLE: Final = 0.6  # of a machine's memory: the rest is Spark's and the system's
# List prices a core and hour in US dollars, rounded over the clouds: the machine, and Databricks' jobs compute.
_MACHINE_USD: Final = 0.057
_SPOT_USD: Final = 0.023
_PLATFORM_USD: Final = 0.026
_SERVERLESS_USD: Final = 0.10
_SERVERLESS_CORES: Final = 8
_DEDICATED_CORES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """How much there is to compute.

    Attributes:
        spread_s: CPU seconds of models fitted series by series, on as many machines as there are.
        driver_s: CPU seconds of models fitted over all series, on the driver alone.
    """

    n_rows: int
    n_series: int
    n_models: int
    n_windows: int
    spread_s: float
    driver_s: float

    @classmethod
    def of(cls, spec: ForecastSpec, *, n_rows: int, n_series: int) -> Workload:
        """The workload of a spec over a panel of this size."""
        by_model = estimate(spec, n_series=n_series, n_rows=n_rows, cores=1).by_model
        return cls(
            n_rows=n_rows,
            n_series=n_series,
            n_models=len(spec.models),
            n_windows=spec.n_windows,
            spread_s=sum(seconds for model, seconds in by_model.items() if model not in GLOBAL),
            driver_s=sum(seconds for model, seconds in by_model.items() if model in GLOBAL),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeSettings:
    """What an installation prescribes.

    Attributes:
        node_type: instead of the cloud's usual one for the size.
        min_workers, max_workers: bounds for sizes that have workers.
        use_spot: workers may be spot machines, on demand where there are none; the driver never is one.
        instance_pool_id: machines come from this pool, which decides their kind.
    """

    mode: ComputeMode = ComputeMode.JOB_CLUSTER
    cloud: Cloud = Cloud.AWS
    runtime: str = LTS_ML_RUNTIME
    node_type: str | None = None
    min_workers: int = 1
    max_workers: int = 4
    use_spot: bool = True
    instance_pool_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputePlan:
    """What a run gets.

    Attributes:
        size: ``None`` where the machines are not ours to choose.
        node_type: empty where a pool or the platform decides.
        workers: 0 for a single machine.
        is_spot: workers may be taken back by the cloud.
        minutes: from start to end, about.
        cost_usd: at list prices, about.
        reason: why this, for a person.
    """

    mode: ComputeMode
    size: Size | None
    node_type: str
    workers: int
    is_spot: bool
    runtime: str
    minutes: float
    cost_usd: float
    reason: str

    def can_avoid(self, cause: Cause) -> bool:
        """Whether a further attempt would get other machines, on which this cause would not return."""
        if cause is Cause.SPOT_LOSS:
            return self.is_spot
        return cause is Cause.OUT_OF_MEMORY and self.size is not None and self.size is not Size.XL


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeOffer:
    """What a job can run on.

    Attributes:
        usual: what the app chooses.
        by_size: what a user can choose instead; empty where the machines are not ours to choose.
    """

    usual: ComputePlan
    by_size: Mapping[Size, ComputePlan]

    def plan(self, size: Size | None) -> ComputePlan:
        """What the job runs on by the user's choice."""
        return self.usual if size is None else self.by_size.get(size, self.usual)


def plan_compute(
    workload: Workload, settings: ComputeSettings, *, size: Size | None = None, causes: Collection[Cause] = ()
) -> ComputePlan:
    """The machines for a workload.

    Args:
        workload: what there is to compute.
        settings: what the installation prescribes.
        size: chosen by the user instead.
        causes: why earlier attempts ended: each want of memory means the next size, one lost spot machine
            means on demand.
    """
    match settings.mode:
        case ComputeMode.SERVERLESS:
            return _fixed(workload, settings, _SERVERLESS_CORES, _SERVERLESS_USD, "Databricks chooses the machines.")
        case ComputeMode.DEDICATED:
            price = _MACHINE_USD + _PLATFORM_USD
            return _fixed(workload, settings, _DEDICATED_CORES, price, "The dedicated cluster is shared by all runs.")
        case ComputeMode.JOB_CLUSTER:
            return _job_cluster(workload, settings, size, tuple(causes))


def _job_cluster(
    workload: Workload, settings: ComputeSettings, chosen: Size | None, causes: tuple[Cause, ...]
) -> ComputePlan:
    wanted = chosen or _smallest(workload, settings)
    size = _grown(wanted, causes.count(Cause.OUT_OF_MEMORY))
    shape, workers = SHAPES[size], _workers(size, settings)
    is_spot = settings.use_spot and workers > 0 and settings.instance_pool_id is None and Cause.SPOT_LOSS not in causes
    minutes = _start_min(settings) + _compute_min(workload, size, settings)
    driver = shape.cores * (_MACHINE_USD + _PLATFORM_USD)
    others = workers * shape.cores * ((_SPOT_USD if is_spot else _MACHINE_USD) + _PLATFORM_USD)
    pooled = settings.instance_pool_id is not None
    return ComputePlan(
        mode=settings.mode,
        size=size,
        node_type="" if pooled else settings.node_type or NODE_TYPES[settings.cloud][shape.cores],
        workers=workers,
        is_spot=is_spot,
        runtime=settings.runtime,
        minutes=minutes,
        cost_usd=(driver + others) * minutes / 60,
        reason=_reason(workload, settings, size=size, wanted=wanted, chosen=chosen, causes=causes),
    )


def _fixed(workload: Workload, settings: ComputeSettings, cores: int, usd: float, reason: str) -> ComputePlan:
    minutes = _WARM_START_MIN + _minutes(workload, cores=cores, driver_cores=cores)
    return ComputePlan(
        mode=settings.mode,
        size=None,
        node_type="",
        workers=0,
        is_spot=False,
        runtime=settings.runtime,
        minutes=minutes,
        cost_usd=cores * usd * minutes / 60,
        reason=reason,
    )


def _smallest(workload: Workload, settings: ComputeSettings) -> Size:
    fitting = [size for size in Size if _fits(workload, size)] or [Size.XL]
    return next((size for size in fitting if _compute_min(workload, size, settings) <= _TARGET_MIN), fitting[-1])


def _fits(workload: Workload, size: Size) -> bool:
    return _needed_gb(workload) <= SHAPES[size].memory_gb * _USABLE


def _needed_gb(workload: Workload) -> float:
    return _BASE_GB + workload.n_rows * _KB_PER_ROW / 1e6


def _grown(size: Size, steps: int) -> Size:
    sizes = list(Size)
    return sizes[min(sizes.index(size) + steps, len(sizes) - 1)]


def _workers(size: Size, settings: ComputeSettings) -> int:
    workers = SHAPES[size].workers
    return min(max(workers, settings.min_workers), settings.max_workers) if workers else 0


def _compute_min(workload: Workload, size: Size, settings: ComputeSettings) -> float:
    shape = SHAPES[size]
    cores = shape.cores * (_workers(size, settings) or 1)
    return _minutes(workload, cores=cores, driver_cores=shape.cores)


def _minutes(workload: Workload, *, cores: int, driver_cores: int) -> float:
    spread, driver = workload.spread_s / cores, workload.driver_s / driver_cores
    together = spread + driver if cores == driver_cores else max(spread, driver)  # the driver works beside workers
    return (START_UP_S + together + FINISH_S) / 60


def _start_min(settings: ComputeSettings) -> float:
    return _CLUSTER_START_MIN if settings.instance_pool_id is None else _WARM_START_MIN


def _reason(
    workload: Workload,
    settings: ComputeSettings,
    *,
    size: Size,
    wanted: Size,
    chosen: Size | None,
    causes: tuple[Cause, ...],
) -> str:
    shape, workers = SHAPES[size], _workers(size, settings)
    machines = f"{workers} workers of {shape.cores} cores" if workers else f"one machine of {shape.cores} cores"
    cpu_min = (workload.spread_s + workload.driver_s) / 60
    words = [
        f"{workload.n_series:,} series with {workload.n_rows:,} rows, {workload.n_models} models and "
        f"{workload.n_windows} backtest windows need about {_number(cpu_min)} CPU minutes: "
        f"size {size}, {machines}, computes for about {_number(_compute_min(workload, size, settings))} min, "
        f"after about {_start_min(settings):.0f} min to start."
    ]
    if chosen is not None and size is chosen:
        words.append("You chose this size.")
    elif size is wanted:
        words.append(_why_not_smaller(workload, settings, size))
    if size is not wanted:
        words.append(f"An attempt on size {wanted} ran out of memory.")
    if Cause.SPOT_LOSS in causes:
        words.append("On demand, because the cloud took a spot machine back.")
    if settings.node_type or settings.instance_pool_id:
        words.append(
            f"The app's settings prescribe the machines; time and cost are those of {shape.cores} cores and "
            f"{shape.memory_gb} GB each."
        )
    return " ".join(word for word in words if word)


def _why_not_smaller(workload: Workload, settings: ComputeSettings, size: Size) -> str:
    if size is Size.S:
        return "It is the smallest."
    smaller = list(Size)[list(Size).index(size) - 1]
    if not _fits(workload, smaller):
        return f"Size {smaller} has too little memory for {_number(_needed_gb(workload))} GB."
    return f"Size {smaller} would compute for about {_number(_compute_min(workload, smaller, settings))} min."


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
