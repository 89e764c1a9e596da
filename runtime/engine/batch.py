"""A batch under way: whose turn it is, what a turn does, and where each branch goes afterwards."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

import numpy as np
import polars as pl

from registry.plans import Plan, PlannedStep
from registry.steps import END, Await, Targets
from runtime.engine import children, waiting
from runtime.engine.binding import Bound, bind
from runtime.engine.calling import Caller
from runtime.engine.evaluation import evaluate
from runtime.engine.frontier import Frontier, Kind, TimedFrontier, Turn
from runtime.engine.history import Rows
from runtime.engine.joining import Branching
from runtime.engine.recording import COMPENSATED, FAILED, RESULT, SKIPPED, SUCCESS, TIMEOUT, Record, failures, until
from runtime.engine.state import State
from runtime.engine.undoing import Undoing
from runtime.engine.waiting import Cause, FindAwaited, Wait
from runtime.protocol import EFFECT_RESOLVED, Effects, ErrorCode, SkillTable

MAX_VISITS = 1_000
"""Step runs after which an episode is taken for one that would never end."""

PARTIAL = "partial"
OUTCOMES = (SUCCESS, PARTIAL, FAILED)


def forks(plan: Plan) -> bool:
    """Tell whether branches of an episode may run side by side."""
    logics = [step.logic for step in plan.steps]
    ways = [way for logic in logics for way in (logic.goto, logic.otherwise, logic.on_error)]
    ways += [branch.goto for logic in logics for branch in logic.branches]
    ways += [logic.awaits.on_timeout for logic in logics if logic.awaits]
    ways += [logic.loop.on_exhausted for logic in logics if logic.loop]
    return any(len(targets) > 1 for targets in ways)


class Batch:
    """Runs the episodes of a batch until each is closed or waits."""

    def __init__(
        self,
        plan: Plan,
        episodes: pl.DataFrame,
        *,
        skills: SkillTable,
        find_awaited: FindAwaited,
        now: datetime,
        effects: Effects | None,
        workflows: Collection[str] = (),
    ) -> None:
        self.state = State(plan, episodes, now)
        self.record = Record(self.state)
        self.undoing = Undoing(self.state)
        self.waits: dict[int, Wait] = {}
        """What each branch that stays waits for."""
        self._caller = Caller(self.state, self.record, skills, effects)
        self._find_awaited = find_awaited
        self._workflows = workflows
        self.branching: Branching | None = None
        self._frontier: Frontier | TimedFrontier = Frontier()
        if forks(plan):
            self._frontier = TimedFrontier(self.state)
            self.branching = Branching(self.state, self._frontier)

    def begin(self, rows: Rows) -> None:
        """Put new episodes before the first step."""
        self._enter(rows, [0])

    def run(self) -> None:
        while (turn := self._frontier.take()) is not None:
            self._take(turn)
            if self.branching:
                self.branching.meet(turn.branches)

    def visit(self, place: int, branches: Rows) -> list[Turn]:
        """Let branches enter one step, and return where they would go on instead of going there."""
        self._run(self.state.plan.steps[place], branches)
        onward: list[Turn] = []
        while (turn := self._frontier.take()) is not None:
            if turn.kind in (Kind.RUN, Kind.ARRIVE):
                onward.append(turn)
            else:
                self._take(turn)
        return onward

    def _take(self, turn: Turn) -> None:
        match turn.kind:
            case Kind.RUN:
                self._run(self.state.plan.steps[turn.place], turn.branches)
            case Kind.ARRIVE:
                assert self.branching is not None
                self.branching.arrive(turn.place, turn.branches)
            case Kind.WAKE:
                self._wake_each(self.state.plan.steps[turn.place], turn.branches)
            case Kind.END:
                self._close(turn.branches, OUTCOMES[turn.place])

    # A step

    def _run(self, step: PlannedStep, branches: Rows) -> None:
        branches = self._within_bounds(step, branches)
        if not len(branches):
            return
        if step.denial:
            self._fail_with(step, branches, ErrorCode.PERMISSION_DENIED, [str(step.denial)])
            return
        bound = bind(step, len(branches), self.state.member(branches))
        if bound.faults:
            faulty = sorted(bound.faults)
            messages = [bound.faults[row] for row in faulty]
            self._fail_with(step, branches[faulty], ErrorCode.EXPRESSION, messages)
            good = np.setdiff1d(np.arange(len(branches)), faulty)
            branches, bound = branches[good], bound.take(good)
            if not len(branches):
                return
        before = self.state.branches.given[branches]
        self.state.branches.given[branches] = self.state.inputs.add(bound.texts, step.step_id)
        if children.starts_workflow(step):
            self._start_children(step, branches, bound)
            return
        result = self._caller.call(step, branches, bound)
        self._arrive(step, branches, bound.texts, result, before)

    def _within_bounds(self, step: PlannedStep, branches: Rows) -> Rows:
        """Return the branches that enter the step; send those on that have done so too often."""
        state = self.state
        episode = state.branches.episode[branches]
        visits = state.visits[step.step_id]
        allowance = np.where(state.branches.is_undoing[branches], 2 * MAX_VISITS, MAX_VISITS)
        is_runaway = state.runs[episode] >= allowance
        if is_runaway.any():
            self.record.add_failures(
                step, branches[is_runaway], ErrorCode.LOOP_BOUND, [f"stopped after {MAX_VISITS} step runs"]
            )
            self._end(branches[is_runaway], FAILED)
            branches, episode = branches[~is_runaway], episode[~is_runaway]
        if step.logic.loop:
            is_spent = visits[episode] >= step.logic.loop.max_visits
            if is_spent.any():
                state.runs[episode[is_spent]] += 1
                self._go(step, branches[is_spent], step.logic.loop.on_exhausted)
                branches, episode = branches[~is_spent], episode[~is_spent]
        np.add.at(visits, episode, 1)
        return branches

    def _arrive(self, step: PlannedStep, branches: Rows, given: pl.Series, result: pl.DataFrame, before: Rows) -> None:
        """Take in the results of a step and send every branch where its logic says."""
        is_error = result["error_code"].is_not_null()
        if is_error.any():
            is_unknown = result["error_code"].eq_missing(ErrorCode.EFFECT_UNKNOWN.value)
            failed = (is_error & ~is_unknown).arg_true().to_numpy()
            self.record.add(step, branches[failed], given.gather(failed), result[failed], FAILED)
            self._fail(step, branches[failed])
            unknown = is_unknown.arg_true().to_numpy()
            if len(unknown):
                self._wait_for_effects(step, branches[unknown], given.gather(unknown), result[unknown], before[unknown])
            passed = (~is_error).arg_true().to_numpy()
            if not len(passed):
                return
            branches, given, result = branches[passed], given.gather(passed), result[passed]
        if step.logic.awaits is not None:
            self._wait(step, step.logic.awaits, branches, given, result)
        else:
            self._succeed(step, branches, given, result)

    def _succeed(
        self,
        step: PlannedStep,
        branches: Rows,
        given: pl.Series,
        result: pl.DataFrame,
        event: pl.Series | None = None,
    ) -> None:
        self._record_success(step, branches, given, result)
        self._put_output(step, branches, result["output"])
        self.undoing.note(step, branches)
        self._route(step, branches, event)

    def _record_success(self, step: PlannedStep, branches: Rows, given: pl.Series, result: pl.DataFrame) -> None:
        is_undoing = self.state.branches.is_undoing[branches]
        for status, chosen in ((SUCCESS, ~is_undoing), (COMPENSATED, is_undoing)):
            if chosen.all():
                self.record.add(step, branches, given, result, status)
            elif chosen.any():
                part = chosen.nonzero()[0]
                self.record.add(step, branches[part], given.gather(part), result[part], status)

    def _put_output(self, step: PlannedStep, branches: Rows, texts: pl.Series) -> None:
        columns = self.state.branches
        columns.output[branches] = self.state.outputs.add(texts, step.step_id, columns.output[branches])

    # Routing

    def _route(self, step: PlannedStep, branches: Rows, event: pl.Series | None = None) -> None:
        for branch in step.logic.branches:
            if not len(branches):
                return
            values = evaluate(branch.condition, len(branches), self.state.member(branches, event))
            faults = values.faulty()
            holds = values.are(True)
            goes_on = ~holds
            if faults:
                faulty = sorted(faults)
                messages = [faults[row] for row in faulty]
                self._fail_with(step, branches[faulty], ErrorCode.EXPRESSION, messages)
                goes_on[faulty] = False
            self._go(step, branches[holds], branch.goto)
            branches = branches[goes_on]
            event = None if event is None else event.filter(pl.Series(goes_on))
        if onward := step.logic.goto or step.logic.otherwise:
            self._go(step, branches, onward)
        else:
            self._fail_with(step, branches, ErrorCode.NO_BRANCH, ["no condition of the step's logic holds"])

    def _go(self, step: PlannedStep, branches: Rows, targets: Targets) -> None:
        if not len(branches):
            return
        if targets == (END,):
            # Who ends on a handoff left the work to a person who did not take it up: it is done in part only.
            self._end(branches, PARTIAL if step.action_type == "handoff" else SUCCESS)
        else:
            self._enter(branches, [self.state.order[target] for target in targets])

    def _enter(self, branches: Rows, places: list[int]) -> None:
        if self.branching:
            self.branching.go(branches, places)
        else:
            self._frontier.put(Kind.RUN, places[0], branches)

    def _fail(self, step: PlannedStep, branches: Rows) -> None:
        if step.logic.on_error in ((), (END,)):
            self._end(branches, FAILED)
        else:
            self._go(step, branches, step.logic.on_error)

    def _fail_with(self, step: PlannedStep, branches: Rows, code: ErrorCode, messages: Sequence[str]) -> None:
        """Record that the step's own logic failed for these branches, and go where errors go."""
        if len(branches):
            self.record.add_failures(step, branches, code, messages)
            self._fail(step, branches)

    # Ending

    def _end(self, branches: Rows, outcome: str) -> None:
        if not len(branches):
            return
        if self.branching:
            self._frontier.put(Kind.END, OUTCOMES.index(outcome), branches)
        else:
            self._close(branches, outcome)

    def _close(self, branches: Rows, outcome: str) -> None:
        """End the episodes of branches; what a failed one did is undone first."""
        if self.branching:
            self._stop_others(branches)
        going = branches if outcome == FAILED else branches[self.state.branches.is_undoing[branches]]
        places = self.undoing.next(going)
        for place, undone in places.items():
            self._enter(undone, [place])
        still = np.concatenate(list(places.values())) if places else np.zeros(0, dtype=np.int64)
        closed = np.setdiff1d(branches, still, assume_unique=True)
        episode = self.state.branches.episode[closed]
        self.state.outcome[episode] = np.where(self.state.branches.is_undoing[closed], FAILED, outcome)
        self.state.ended[episode] = self.state.branches.clock[closed]
        if self.branching:
            self.branching.end(closed.tolist())

    def _stop_others(self, branches: Rows) -> None:
        """Stop what else runs in the episodes of branches; a wait that is cut short is recorded as skipped."""
        assert self.branching is not None
        for branch in branches.tolist():
            episode = int(self.state.branches.episode[branch])
            others = self.branching.of_episode[episode] - {branch}
            for other in sorted(others, key=lambda other: self.state.labels[other]):
                if wait := self.waits.pop(other, None):
                    self._cut_short(other, wait, int(self.state.branches.clock[branch]))
            self.branching.end(others)

    def _cut_short(self, branch: int, wait: Wait, at_us: int) -> None:
        """Record the step of a wait that nobody waits for any more."""
        step, one = self.state.steps[wait.step_id], np.array([branch], dtype=np.int64)
        result = pl.DataFrame([wait.result], schema=RESULT, orient="row")
        if wait.cause is not Cause.EFFECT:
            result = until(result, np.maximum(at_us, [wait.since_us]), self.state.branches.clock[one])
            self.record.add(step, one, pl.Series([wait.given]), result, SKIPPED)
            self._put_output(step, one, result["output"])
            self.undoing.note(step, one)
        else:
            self.record.add(step, one, pl.Series([wait.given]), result, FAILED)

    # Waiting

    def _wait(self, step: PlannedStep, wait: Await, branches: Rows, given: pl.Series, result: pl.DataFrame) -> None:
        """Resolve the waits that an event or the deadline ends by now; keep the others open."""
        keys, faults = waiting.correlated(wait, len(branches), self.state.member(branches))
        if faults:
            faulty = sorted(faults)
            messages = [faults[row] for row in faulty]
            self._fail_with(step, branches[faulty], ErrorCode.EXPRESSION, messages)
            good = np.setdiff1d(np.arange(len(branches)), faulty)
            branches, given, result, keys = branches[good], given.gather(good), result[good], keys.gather(good)
        since = self.state.branches.clock[branches] + result["latency_ms"].fill_null(0).to_numpy() * 1000
        due = waiting.deadline(step, since)
        self._settle(step, Cause.EVENT, wait, branches, given, result, keys, since, due)

    def _wait_for_effects(
        self, step: PlannedStep, branches: Rows, given: pl.Series, result: pl.DataFrame, before: Rows
    ) -> None:
        """Leave the branches before the step, as if they had not come to it, until a person knows."""
        self.state.branches.given[branches] = before
        np.subtract.at(self.state.visits[step.step_id], self.state.branches.episode[branches], 1)
        keys = self._caller.keys(step, branches, next_visit=True)
        texts = pl.Series([waiting.await_key([key]) for key in keys])
        since = self.state.branches.clock[branches]
        due = np.full(len(branches), waiting.NEVER_US, dtype=np.int64)
        wait = waiting.internal_await(EFFECT_RESOLVED)
        self._settle(step, Cause.EFFECT, wait, branches, given, result, texts, since, due)

    def _start_children(self, step: PlannedStep, branches: Rows, bound: Bound) -> None:
        """Wait for a child each; whoever runs the batch starts those whose parents wait for them."""
        result, refused = children.requests(self.state, step, branches, bound, self._workflows)
        for row, (code, message) in refused.items():
            one = branches[row : row + 1]
            self.record.add(step, one, bound.texts[row : row + 1], failures(1, code, message), FAILED)
            self._fail(step, one)
        asked = np.setdiff1d(np.arange(len(branches)), list(refused))
        if not len(asked):
            return
        since = self.state.branches.clock[branches[asked]]
        self._settle(
            step,
            Cause.CHILD,
            waiting.internal_await(waiting.CHILD_CLOSED),
            branches[asked],
            bound.texts.gather(asked),
            result[asked],
            children.child_keys(result[asked]),
            since,
            since + step.timeout_ms * 1000,
            can_be_overdue=False,  # it has not begun yet
        )

    def resume(self, waits: Mapping[int, Wait]) -> None:
        """Go on waiting, or no longer, with branches that were put down."""
        groups: dict[tuple[str, Cause], list[int]] = {}
        for branch, wait in waits.items():
            groups.setdefault((wait.step_id, wait.cause), []).append(branch)
        for (step_id, cause), members in groups.items():
            step, kept = self.state.steps[step_id], [waits[branch] for branch in members]
            await_ = step.logic.awaits if cause is Cause.EVENT else waiting.internal_await(kept[0].topic)
            assert await_ is not None
            self._settle(
                step,
                cause,
                await_,
                np.array(members, dtype=np.int64),
                pl.Series([wait.given for wait in kept], dtype=pl.String),
                pl.DataFrame([wait.result for wait in kept], schema=RESULT, orient="row"),
                pl.Series([wait.key for wait in kept], dtype=pl.String),
                np.array([wait.since_us for wait in kept], dtype=np.int64),
                np.array([wait.due_us for wait in kept], dtype=np.int64),
            )

    def _settle(
        self,
        step: PlannedStep,
        cause: Cause,
        wait: Await,
        branches: Rows,
        given: pl.Series,
        result: pl.DataFrame,
        keys: pl.Series,
        since: Rows,
        due: Rows,
        *,
        can_be_overdue: bool = True,
    ) -> None:
        if not len(branches):
            return
        started = self.state.started[self.state.branches.episode[branches]]
        episode_ids = self.state.ids.gather(self.state.branches.episode[branches])
        events = waiting.first_events(self._find_awaited(wait, keys.to_list(), episode_ids), keys, started, due)
        arrived = events["payload"].is_not_null().to_numpy()
        overdue = ~arrived & (due <= self.state.now_us) & can_be_overdue
        at = np.where(arrived, np.maximum(events["at"].dt.epoch("us").fill_null(0).to_numpy(), since), due)
        over = arrived | overdue
        kept = np.arange(len(branches)) if self.branching else (~over).nonzero()[0]
        for place in kept.tolist():
            branch = int(branches[place])
            self.waits[branch] = Wait(
                cause=cause,
                step_id=step.step_id,
                topic=wait.event,
                key=keys[place],
                since_us=int(since[place]),
                due_us=int(due[place]),
                given=given[place],
                result=result.row(place),
                woken=(events["payload"][place], int(at[place])) if over[place] else None,
            )
            if self.branching:
                self.branching.waiting[branch] = self.state.order[step.step_id]
        if isinstance(self._frontier, TimedFrontier):
            self._frontier.put_wakes(self.state.order[step.step_id], branches[over], at[over])
        else:
            self._wake(
                step, cause, branches[over], given.filter(over), result.filter(over), events.filter(over), at[over]
            )

    def _wake_each(self, step: PlannedStep, branches: Rows) -> None:
        """Let branches go on that have waited, each until its moment."""
        assert self.branching is not None
        waits = [self.waits.pop(branch) for branch in branches.tolist()]
        for branch in branches.tolist():
            del self.branching.waiting[branch]
        for cause in Cause:
            chosen = [place for place, wait in enumerate(waits) if wait.cause is cause]
            if chosen:
                mine = [waits[place] for place in chosen]
                self._wake(
                    step,
                    cause,
                    branches[chosen],
                    pl.Series([wait.given for wait in mine], dtype=pl.String),
                    pl.DataFrame([wait.result for wait in mine], schema=RESULT, orient="row"),
                    pl.DataFrame({"payload": pl.Series([w.woken and w.woken[0] for w in mine], dtype=pl.String)}),
                    np.array([wait.woken[1] for wait in mine if wait.woken], dtype=np.int64),
                )

    def _wake(
        self,
        step: PlannedStep,
        cause: Cause,
        branches: Rows,
        given: pl.Series,
        result: pl.DataFrame,
        events: pl.DataFrame,
        at: Rows,
    ) -> None:
        """Go on with branches whose wait is over: with the event's payload, or for lack of one by the way out."""
        if not len(branches):
            return
        done = until(result, at, self.state.branches.clock[branches])
        if cause is Cause.EFFECT:
            self.state.branches.clock[branches] = at
            self._enter(branches, [self.state.order[step.step_id]])
            return
        arrived = events["payload"].is_not_null()
        if cause is Cause.CHILD:
            self._go_on_after_children(step, branches, given, done, events["payload"])
            return
        woken, late = arrived.arg_true().to_numpy(), (~arrived).arg_true().to_numpy()
        if len(woken):
            payloads = events["payload"].gather(woken)
            output = waiting.merged(result["output"].gather(woken), payloads)
            self._succeed(step, branches[woken], given.gather(woken), done[woken].with_columns(output=output), payloads)
        if len(late):
            self._time_out(step, branches[late], given.gather(late), done[late])

    def _go_on_after_children(
        self, step: PlannedStep, branches: Rows, given: pl.Series, done: pl.DataFrame, payloads: pl.Series
    ) -> None:
        late = payloads.is_null().to_numpy()
        failed = ~late & children.have_failed(payloads.fill_null("{}"))
        for chosen, code, message in (
            (late, ErrorCode.TIMEOUT, f"the workflow did not end within {step.timeout_ms:,} ms"),
            (failed, ErrorCode.CHILD_FAILED, "the workflow that was started has failed"),
        ):
            if chosen.any():
                part = chosen.nonzero()[0]
                told = {"output": None, "error_code": code.value, "error_message": message}
                result = done[part].with_columns(pl.lit(told[name], dtype=RESULT[name]).alias(name) for name in told)
                self.record.add(step, branches[part], given.gather(part), result, FAILED)
                self._fail(step, branches[part])
        part = (~late & ~failed).nonzero()[0]
        if len(part):
            returned = payloads.gather(part)
            result = done[part].with_columns(output=returned)
            self._succeed(step, branches[part], given.gather(part), result, returned)

    def _time_out(self, step: PlannedStep, branches: Rows, given: pl.Series, done: pl.DataFrame) -> None:
        assert step.logic.awaits is not None
        self.record.add(step, branches, given, done, TIMEOUT)
        self._put_output(step, branches, done["output"])
        self.undoing.note(step, branches)
        if step.logic.awaits.on_timeout == (END,):
            self._end(branches, PARTIAL)
        else:
            self._go(step, branches, step.logic.awaits.on_timeout)
