"""People, runs, crashes and outages in any order: the promises of the design hold all along, and in the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from services.adapters.memory.stores import MemoryJobStore
from services.domain.errors import (
    ForecastAppError,
    IllegalTransition,
    LimitReached,
    NotFound,
    StoreUnavailable,
    Unavailable,
)
from services.domain.failure import Cause
from services.domain.job import TRANSITIONS, Job, JobId, JobStatus, RunId
from services.ports import JobFilter, JobStore, RunState, Submission
from tests.support.fakes import CrashError, ShakyJobStore
from tests.support.world import ANN, World

S = JobStatus
ENDS = [
    (RunState.SUCCEEDED, None),
    (RunState.FAILED, Cause.LOST),
    (RunState.FAILED, Cause.INTERNAL),
    (RunState.CANCELLED, None),
]


class AnyOrder(RuleBasedStateMachine):
    """Two app processes over one store, one executor and one MLflow, all of which may misbehave."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.store = ShakyJobStore(self.make_store())
        self.world = World(jobs=self.store)
        self.worlds = (self.world, self.world.another_process())
        self.last: dict[JobId, Job] = {}

    def make_store(self) -> JobStore:
        """An empty one."""
        return MemoryJobStore()

    @initialize(target=jobs)
    def begin(self) -> JobId:
        return self.world.started().job_id

    @rule(target=jobs, started=st.booleans())
    def create(self, started: bool) -> JobId:
        job_id = self.world.created().job_id
        if started:
            self.act(job_id, "start")
        return job_id

    @rule(job_id=jobs, action=st.sampled_from(["start", "cancel", "retry", "delete"]), which=st.integers(0, 1))
    def act(self, job_id: JobId, action: str, which: int = 0) -> None:
        refused = (IllegalTransition, LimitReached, NotFound, StoreUnavailable)
        with self.survived(which), suppress(*refused):
            getattr(self.worlds[which].service, action)(ANN, job_id)
        self.look()

    @rule(which=st.integers(0, 1), seconds=st.sampled_from([0, 1, 31, 200]))
    def tick(self, which: int, seconds: int) -> None:
        self.world.clock.advance(seconds=seconds)
        with self.survived(which), suppress(ForecastAppError):
            self.worlds[which].reconciler.tick()
        self.look()

    @contextmanager
    def survived(self, which: int) -> Iterator[None]:
        """Where the process dies in the block, a new one takes its place, and tidies up if it can."""
        try:
            yield
        except CrashError:
            worlds = list(self.worlds)
            worlds[which] = self.world.another_process()
            self.worlds = (worlds[0], worlds[1])
            self.tidy(which)

    def tidy(self, which: int) -> None:
        for step in (self.worlds[which].left_overs.end_unwanted, self.worlds[which].left_overs.tidy):
            with suppress(Unavailable):
                step()

    @rule(
        job_id=jobs,
        error=st.sampled_from([CrashError, StoreUnavailable]),
        is_after=st.booleans(),
        skip=st.integers(0, 3),
        action=st.sampled_from(["tick", "start", "cancel", "retry", "delete"]),
    )
    def a_write_goes_wrong(
        self, job_id: JobId, error: type[BaseException], is_after: bool, skip: int, action: str
    ) -> None:
        """The process dies, or is told that the store does not answer, at a write of what it does next."""
        self.store.arm(error("here"), is_after=is_after, skip=skip)
        if action == "tick":
            self.tick(0, 31)
        else:
            self.act(job_id, action)
        self.store.heal()

    @rule(is_down=st.booleans())
    def executor(self, is_down: bool) -> None:
        self.world.executor.is_down = is_down

    @rule(job_id=jobs, action=st.sampled_from(["cancel", "tick"]), dies=st.booleans())
    def something_happens_while_submitting(self, job_id: JobId, action: str, dies: bool) -> None:
        """A cancel, or another process's tick, in the middle of the next submission, which may be the last."""

        def die(_: Submission) -> None:
            raise CrashError

        def meanwhile(_: Submission) -> None:
            self.world.executor.on_submit = lambda _: None
            if action == "cancel":
                self.act(job_id, "cancel")
            self.tick(1, 0)

        executor = self.world.executor
        executor.on_submit, executor.on_accepted = meanwhile, die if dies else lambda _: None
        self.tick(0, 0)
        executor.on_submit = executor.on_accepted = lambda _: None

    @rule(after=st.sampled_from(["made", "not made"]))
    def crash_while_submitting(self, after: str) -> None:
        """The first process dies around its next submission; a new one takes its place."""
        executor = self.world.executor

        def die(_: Submission) -> None:
            raise CrashError

        if after == "made":
            executor.on_accepted = die
        else:
            executor.on_submit = die
        self.tick(0, 0)
        executor.on_submit = executor.on_accepted = lambda _: None
        self.look()

    @rule(job_id=jobs, end=st.sampled_from(ENDS))
    def end_run(self, job_id: JobId, end: tuple[RunState, Cause | None]) -> None:
        for run_id, run in self.world.executor.runs.items():
            if run_id.startswith(f"{job_id}-") and not run.state.is_over:
                self.world.executor.set(run_id, end[0], cause=end[1], detail="over")

    @rule(n=st.integers(1, 4), made=st.booleans())
    def submissions_fail(self, n: int, made: bool) -> None:
        if made:
            self.world.executor.loses_answers = n
        else:
            self.world.executor.refuses = n

    @rule(is_down=st.booleans())
    def mlflow(self, is_down: bool) -> None:
        self.world.tracker.is_down = is_down

    @rule(obeys=st.booleans())
    def runs_obey(self, obeys: bool) -> None:
        self.world.executor.obeys = obeys

    def look(self) -> None:
        """Compare each job with the last time it was seen."""
        for job in self.all_jobs():
            before = self.last.get(job.job_id)
            if before is not None:
                assert job.version >= before.version
                assert job.attempts[: len(before.attempts) - 1] == before.attempts[:-1]
                assert can_reach(before.status, job.status, steps=job.version - before.version)
                if before.status is S.COMPLETED:
                    assert job == before, "what is completed stays as it is"
            self.last[job.job_id] = job

    @invariant()
    def an_attempt_has_the_run_of_its_token(self) -> None:
        for job in self.all_jobs():
            assert [a.token for a in job.attempts] == [f"{job.job_id}-{n}" for n in range(1, len(job.attempts) + 1)]
            assert {a.run_id for a in job.attempts} <= {None, *(a.token for a in job.attempts)}
            assert job.status is not S.RUNNING or job.attempts[-1].run_id is not None

    @invariant()
    def what_has_failed_or_completed_has_no_run_alive(self) -> None:
        for job in self.all_jobs():
            run = self.world.executor.runs.get(RunId(job.attempts[-1].token)) if job.attempts else None
            if run is not None and job.status in {S.FAILED, S.COMPLETED}:
                assert run.state.is_over

    def all_jobs(self) -> tuple[Job, ...]:
        return self.world.jobs.find(JobFilter(), limit=1_000).jobs

    @invariant()
    def the_timeline_tells_each_thing_once(self) -> None:
        once = {"JOB_CREATED", "START_REQUESTED", "SUBMITTED", "STARTED", "COMPLETED", "CANCELLED", "DELETED"}
        for job_id in {job.job_id for job in self.all_jobs()} | self.last.keys():
            told = [(e.kind, e.attempt) for e in self.world.jobs.events(job_id) if e.kind in once]
            assert len(told) == len(set(told))

    def teardown(self) -> None:
        """With everything well again, all comes to an end and nothing computes on unseen."""
        executor = self.world.executor
        executor.refuses = executor.loses_answers = 0
        executor.is_down = self.world.tracker.is_down = False
        executor.obeys = True
        self.tidy(0)  # each process is started anew at last
        self.tidy(1)
        for run_id in set(executor.cancelled):  # who was asked to end does so at last, though nobody asks again
            executor.cancel(run_id)
        for _ in range(6):
            self.tick(0, 300)
            for run_id, run in executor.runs.items():
                if not run.state.is_over and self.is_wanted(run_id):
                    executor.set(run_id, RunState.SUCCEEDED)
        self.tidy(0)
        there = {job.job_id: job for job in self.all_jobs()}
        assert self.world.jobs.active() == ()
        assert [run for run in executor.runs.values() if not run.state.is_over] == []
        assert self.world.tracker.open_runs() == {}
        known = {attempt.token for job in there.values() for attempt in job.attempts}
        assert executor.runs.keys() <= known, "a deleted job left something"

    def is_wanted(self, token: str) -> bool:
        return any(
            job.attempt is not None and job.attempt.token == token and job.status is S.RUNNING
            for job in self.world.jobs.active()
        )


def can_reach(start: JobStatus, end: JobStatus, *, steps: int) -> bool:
    """Whether the table leads from one status to the other in at most so many writes."""
    reached = {start}
    for _ in range(steps):
        reached |= {to for status in reached for to in TRANSITIONS[status]}
    return end in reached


AnyOrder.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
test_any_order_of_events = AnyOrder.TestCase
