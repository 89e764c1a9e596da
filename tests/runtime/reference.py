"""A slow interpreter of the step language, for comparison: one episode at a time, one thing after the other.

It shares with the engine the expressions and the draws of chance, and nothing of how episodes are kept, taken together,
forked, joined or put down.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl

from guard.canonical import parse
from registry.plans import Plan, PlannedStep
from registry.steps import END, Targets
from runtime.chance import seeds_for, uniform
from runtime.documents import encode

Answer = Callable[[PlannedStep, int, Mapping[str, Any]], Mapping[str, Any]]
"""What a skill answers: step, seed and arguments -> output or None, error_code, latency_ms."""

_ORDER = ("end", "arrive", "wake", "run")
_TRANSIENT = ("CONNECTIVITY", "TIMEOUT", "RATE_LIMITED", "REMOTE_FAULT")


@dataclass(eq=False)
class Path:
    """A branch: where it is in time, what it knows, and what happens to it next."""

    label: str
    at: datetime
    depth: int = 0
    history: list[tuple[str, Any]] = field(default_factory=list)
    given: Any = None
    undoes: bool = False
    next: tuple[str, Any] | None = None  # what happens next: (kind, step or outcome)
    wakes_at: datetime | None = None
    wait: tuple[PlannedStep, Any, Any, int, Any, datetime] | None = None  # step, given, output, attempt, event, since

    @property
    def moment(self) -> datetime:
        return self.wakes_at if self.next and self.next[0] == "wake" and self.wakes_at else self.at


class Interpreter:
    """Runs one episode to its end."""

    def __init__(
        self,
        plan: Plan,
        episode: Mapping[str, Any],
        answer: Answer,
        events: Sequence[tuple[datetime, Mapping[str, Any]]],
        *,
        most: int,
    ) -> None:
        self.plan, self.episode, self.answer, self.events, self.most = plan, episode, answer, events, most
        self.steps = [step.step_id for step in plan.steps]
        self.trigger = parse(episode["payload"])
        self.paths = [Path("0", episode["started_at"])]
        self.runs: list[dict[str, Any]] = []
        self.moves = 0
        self.visits = dict.fromkeys(self.steps, 0)
        self.undoable: list[tuple[datetime, int, int, str, list[tuple[str, Any]]]] = []
        self.passed: set[tuple[str, str]] = set()
        self.parked: dict[int, str] = {}
        self.ended: tuple[datetime, str] | None = None

    def run(self) -> tuple[tuple[datetime, str], list[dict[str, Any]]]:
        """Return when and how the episode ended, and its step runs."""
        self._go(self.paths[0], (self.steps[0],))
        while self.ended is None:
            path = min((p for p in self.paths if p.next), key=self._when)
            kind, where = path.next  # type: ignore[misc]
            path.next = None
            if kind == "run":
                self._step(path, self.plan.step(where))
            elif kind == "arrive":
                self._arrive(path, where)
            elif kind == "wake":
                self._wake(path)
            else:
                self._end(path, where)
            if self.ended is None:
                self._meet(path.at)
        self.runs.sort(key=lambda r: (r["start"], r["depth"], self.steps.index(r["step_id"]), r["attempt"], r["end"]))
        return self.ended, self.runs

    def _when(self, path: Path) -> tuple[Any, ...]:
        kind, where = path.next  # type: ignore[misc]
        place = ("success", "partial", "failed").index(where) if kind == "end" else self.steps.index(where)
        return path.moment, _ORDER.index(kind), place, path.label

    # What a step does

    def _step(self, path: Path, step: PlannedStep) -> None:
        if len(self.runs) + self.moves >= (2 * self.most if path.undoes else self.most):
            self._record(path, step, {}, "failed", code="LOOP_BOUND")
            path.next = ("end", "failed")
            return
        loop = step.logic.loop
        if loop and self.visits[step.step_id] >= loop.max_visits:
            self.moves += 1
            self._leave(path, step, loop.on_exhausted)
            return
        self.visits[step.step_id] += 1
        try:
            given = step.parameters.evaluate(self._bindings(path))
        except ValueError:
            self._fail(path, step, "EXPRESSION")
            return
        path.given = given
        for attempt in range(1, step.retries + 2):
            seed = int(seeds_for(np.array([self.episode["seed"]], np.uint64), step.step_id, str(attempt))[0])
            pause = self._pause(step, attempt)
            told = self.answer(step, seed, given)
            latency, code = told["latency_ms"], told["error_code"]
            if code not in _TRANSIENT or attempt == step.retries + 1:
                break
            self._record(path, step, given, "failed", code=code, spent=pause + latency, attempt=attempt)
        if code:
            self._record(path, step, given, "failed", code=code, spent=pause + latency, attempt=attempt)
            self._leave_failed(path, step)
        elif step.logic.awaits:
            self._wait(path, step, given, told["output"], pause + latency, attempt)
        else:
            self._record(path, step, given, None, output=told["output"], spent=pause + latency, attempt=attempt)
            self._done(path, step, told["output"])
            self._route(path, step, None)

    def _pause(self, step: PlannedStep, attempt: int) -> int:
        if attempt == 1:
            return 0
        seed = seeds_for(np.array([self.episode["seed"]], np.uint64), step.step_id, str(attempt))
        share = 0.5 + 0.5 * float(uniform(pl.Series(seed), "backoff")[0])
        return int(np.rint(min(60_000, 1_000 * 2 ** (attempt - 2)) * share))

    def _bindings(self, path: Path, event: Any = None) -> dict[str, Any]:
        named = {"id": self.episode["episode_id"], "trigger_event_id": self.episode["trigger_event_id"]}
        bindings: dict[str, Any] = {"trigger": self.trigger, "episode": named}
        for name, value in (("output", path.history[-1][1] if path.history else None), ("input", path.given)):
            if value is not None:
                bindings[name] = value
        return bindings | ({"event": event} if event is not None else {})

    def _record(
        self,
        path: Path,
        step: PlannedStep,
        given: Any,
        status: str | None,
        *,
        code: str | None = None,
        output: Any = None,
        spent: int = 0,
        attempt: int = 1,
    ) -> None:
        start, path.at = path.at, path.at + timedelta(milliseconds=spent)
        self.runs.append(
            {
                "step_id": step.step_id,
                "depth": path.depth,
                "attempt": attempt,
                "status": status or ("compensated" if path.undoes else "success"),
                "error_code": code,
                "start": start,
                "end": path.at,
                "input": given,
                "output": output,
            }
        )
        path.depth += 1

    def _done(self, path: Path, step: PlannedStep, output: Any) -> None:
        path.history = [*path.history, (step.step_id, output)]
        if step.logic.compensate and not path.undoes:
            place = self.steps.index(step.step_id)
            self.undoable.append((path.at, path.depth, place, step.logic.compensate, path.history))

    def _route(self, path: Path, step: PlannedStep, event: Any) -> None:
        for branch in step.logic.branches:
            try:
                holds = branch.condition.evaluate(self._bindings(path, event)) is True
            except ValueError:
                self._fail(path, step, "EXPRESSION")
                return
            if holds:
                self._leave(path, step, branch.goto)
                return
        if onward := step.logic.goto or step.logic.otherwise:
            self._leave(path, step, onward)
        else:
            self._fail(path, step, "NO_BRANCH")

    def _fail(self, path: Path, step: PlannedStep, code: str) -> None:
        self._record(path, step, {}, "failed", code=code)
        self._leave_failed(path, step)

    def _leave_failed(self, path: Path, step: PlannedStep) -> None:
        if step.logic.on_error in ((), (END,)):
            path.next = ("end", "failed")
        else:
            self._leave(path, step, step.logic.on_error)

    def _leave(self, path: Path, step: PlannedStep, targets: Targets) -> None:
        if targets == (END,):
            path.next = ("end", "partial" if step.action_type == "handoff" else "success")
        else:
            self._go(path, targets)

    def _go(self, path: Path, targets: Targets) -> None:
        fork = f"{path.label}.{path.depth}"
        paths = [path, *(replace(path) for _ in targets[1:])]
        for number, (one, target) in enumerate(zip(paths, targets, strict=True)):
            one.label = f"{fork}-{number}" if len(targets) > 1 else path.label
            one.next = ("arrive" if self.plan.step(target).logic.join else "run", target)
        self.paths += paths[1:]

    # Waiting

    def _wait(self, path: Path, step: PlannedStep, given: Any, output: Any, spent: int, attempt: int) -> None:
        wait = step.logic.awaits
        assert wait is not None
        try:
            keys = {name: value.evaluate(self._bindings(path)) for name, value in wait.correlate.items()}
        except ValueError:
            self._fail(path, step, "EXPRESSION")
            return
        since = path.at + timedelta(milliseconds=spent)
        due = since + timedelta(hours=float(wait.timeout_h))
        fitting = [
            (at, encode(payload), payload)
            for at, payload in self.events
            if self.episode["started_at"] <= at <= due and all(payload.get(n) == v for n, v in keys.items())
        ]
        event = min(fitting)[2] if fitting else None
        path.wait = (step, given, output, attempt, event, since)
        path.wakes_at = max(since, min(fitting)[0]) if fitting else due
        path.next = ("wake", step.step_id)

    def _wake(self, path: Path) -> None:
        assert path.wait is not None and path.wakes_at is not None
        step, given, output, attempt, event, _ = path.wait
        path.wait = None
        spent = (path.wakes_at - path.at) // timedelta(milliseconds=1)
        if event is None:
            self._record(path, step, given, "timeout", output=output, spent=spent, attempt=attempt)
            self._done(path, step, output)
            assert step.logic.awaits is not None
            if step.logic.awaits.on_timeout == (END,):
                path.next = ("end", "partial")
            else:
                self._leave(path, step, step.logic.awaits.on_timeout)
            return
        output = {**output, **event}
        self._record(path, step, given, None, output=output, spent=spent, attempt=attempt)
        self._done(path, step, output)
        self._route(path, step, event)

    # Joining

    def _forks(self, label: str) -> list[str]:
        parts = label.split(".")
        return [".".join(parts[:n]).rsplit("-", 1)[0] for n in range(len(parts), 1, -1)]

    def _after(self, step_id: str) -> set[str]:
        found: set[str] = set()
        todo = [step_id]
        while todo:
            for _, target in self.plan.step(todo.pop()).logic.ways():
                if target != END and target not in found:
                    found.add(target)
                    todo.append(target)
        return found

    def _can_reach(self, path: Path, join: str) -> bool:
        if path.next is None:
            return False
        kind, where = path.next
        if kind == "end":
            return False
        return join in self._after(where) or (kind != "wake" and join == where)

    def _arrive(self, path: Path, join: str) -> None:
        if self.plan.step(join).logic.join == "all":
            self.parked[id(path)] = join
            return
        others = [other for other in self.paths if other is not path]
        if others and any((fork, join) in self.passed for fork in self._forks(path.label)):
            self.paths.remove(path)
            return
        label = path.label
        for fork in self._forks(path.label):
            if any(other.label.startswith(f"{fork}-") and self._could_come(other, join) for other in others):
                self.passed.add((fork, join))
                label = fork.rsplit(".", 1)[0]
        path.label = self._shortened(label, others)
        path.next = ("run", join)

    def _could_come(self, path: Path, join: str) -> bool:
        stands = self.parked.get(id(path))
        return join == stands or join in self._after(stands) if stands else self._can_reach(path, join)

    def _meet(self, moment: datetime) -> None:
        standing: dict[str, list[Path]] = {}
        for path in self.paths:
            if id(path) in self.parked:
                standing.setdefault(self.parked[id(path)], []).append(path)
        moving = [path for path in self.paths if id(path) not in self.parked]
        free = [join for join in standing if not any(self._can_reach(path, join) for path in moving)]
        ready = [join for join in free if not any(join in self._after(other) for other in standing if other != join)]
        if standing and not ready and len(free) == len(standing):
            ready = [min(free, key=lambda j: (max((p.at, p.label) for p in standing[j]), self.steps.index(j)))]
        for join in ready:
            arrived = sorted(standing[join], key=lambda path: (path.at, path.label))
            history = list(arrived[0].history)
            for path in arrived[1:]:
                history += [item for item in path.history if not any(item is known for known in history)]
            last = arrived[-1]
            last.history, last.at = history, max(moment, last.at)
            last.depth = max(path.depth for path in arrived)
            label = min(path.label for path in arrived)
            self.paths = [path for path in self.paths if path is last or path not in arrived]
            for path in arrived:
                del self.parked[id(path)]
            last.label = self._shortened(label, [path for path in self.paths if path is not last])
            last.next = ("run", join)

    def _shortened(self, label: str, others: Sequence[Path]) -> str:
        for fork in self._forks(label):
            if any(other.label.startswith(f"{fork}-") for other in others):
                break
            label = fork.rsplit(".", 1)[0]
        return label

    # Ending

    def _end(self, path: Path, outcome: str) -> None:
        for other in sorted(self.paths, key=lambda other: other.label):
            if other is not path and other.wait:
                step, given, output, attempt, _, since = other.wait
                spent = (max(path.at, since) - other.at) // timedelta(milliseconds=1)
                self._record(other, step, given, "skipped", output=output, spent=spent, attempt=attempt)
                self._done(other, step, output)
        self.paths = [path]
        self.parked.clear()
        if (outcome == "failed" or path.undoes) and self.undoable:
            latest = max(self.undoable, key=lambda item: item[:3])
            self.undoable.remove(latest)
            if not path.undoes:
                path.undoes, path.at = True, max(path.at, latest[0])
            path.history = latest[4]
            self._go(path, (latest[3],))
        else:
            self.ended = (path.at, "failed" if path.undoes else outcome)
