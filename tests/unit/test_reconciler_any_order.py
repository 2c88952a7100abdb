"""People, runs, crashes and outages in any order: the promises of the design hold all along, and in the end."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from services.domain.errors import ForecastAppError, IllegalTransition, LimitReached
from services.domain.failure import Cause
from services.domain.job import TRANSITIONS, Job, JobId, JobStatus
from services.ports import RunState, Submission
from tests.support.world import ANN, World

S = JobStatus
ENDS = [
    (RunState.SUCCEEDED, None),
    (RunState.FAILED, Cause.LOST),
    (RunState.FAILED, Cause.INTERNAL),
    (RunState.CANCELLED, None),
]


class CrashError(BaseException):
    """The app process dies here."""


class AnyOrder(RuleBasedStateMachine):
    """Two app processes over one store, one executor and one MLflow, all of which may misbehave."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.worlds = (self.world, self.world.another_process())
        self.last: dict[JobId, Job] = {}

    @initialize(target=jobs)
    def begin(self) -> JobId:
        return self.world.started().job_id

    @rule(target=jobs, started=st.booleans())
    def create(self, started: bool) -> JobId:
        job_id = self.world.created().job_id
        if started:
            self.act(job_id, "start")
        return job_id

    @rule(job_id=jobs, action=st.sampled_from(["start", "cancel", "retry"]))
    def act(self, job_id: JobId, action: str) -> None:
        with suppress(IllegalTransition, LimitReached):
            getattr(self.world.service, action)(ANN, job_id)
        self.look()

    @rule(which=st.integers(0, 1), seconds=st.sampled_from([0, 1, 31, 200]))
    def tick(self, which: int, seconds: int) -> None:
        self.world.clock.advance(seconds=seconds)
        with suppress(ForecastAppError):
            self.worlds[which].reconciler.tick()
        self.look()

    @rule(job_id=jobs, action=st.sampled_from(["cancel", "tick"]))
    def something_happens_while_submitting(self, job_id: JobId, action: str) -> None:
        """A cancel, or another process's tick, in the middle of the next submission."""

        def meanwhile(_: Submission) -> None:
            self.world.executor.on_submit = lambda _: None
            if action == "cancel":
                self.act(job_id, "cancel")
            self.tick(1, 0)

        self.world.executor.on_submit = meanwhile
        self.tick(0, 0)
        self.world.executor.on_submit = lambda _: None

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
        try:
            self.tick(0, 0)
        except CrashError:
            self.worlds = (self.world.another_process(), self.worlds[1])
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
        for job in self.world.service.find(ANN, limit=1_000).jobs:
            before = self.last.get(job.job_id)
            if before is not None:
                assert job.version >= before.version
                assert job.attempts[: len(before.attempts) - 1] == before.attempts[:-1]
                assert can_reach(before.status, job.status, steps=job.version - before.version)
            self.last[job.job_id] = job

    @invariant()
    def one_token_makes_one_run_of_a_known_attempt(self) -> None:
        tokens = {a.token for job in self.world.service.find(ANN, limit=1_000).jobs for a in job.attempts}
        assert self.world.executor.runs.keys() <= tokens

    @invariant()
    def the_timeline_tells_each_end_once(self) -> None:
        for job in self.world.service.find(ANN, limit=1_000).jobs:
            attempts = [e.attempt for e in self.world.jobs.events(job.job_id) if e.kind == "SUBMITTED"]
            assert len(attempts) == len(set(attempts))

    def teardown(self) -> None:
        """With everything well again, all comes to an end and nothing computes on unseen."""
        executor = self.world.executor
        executor.refuses = executor.loses_answers = 0
        executor.obeys, self.world.tracker.is_down = True, False
        for run_id in set(executor.cancelled):  # who was asked to end does so at last, though nobody asks again
            executor.cancel(run_id)
        for _ in range(6):
            self.tick(0, 300)
            for run_id, run in executor.runs.items():
                if not run.state.is_over and self.is_wanted(run_id):
                    executor.set(run_id, RunState.SUCCEEDED)
        assert self.world.jobs.active() == ()
        assert [run for run in executor.runs.values() if not run.state.is_over] == []

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
