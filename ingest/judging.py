"""Judging parts: in this process while they are few, in one process per processor when they are many.

A worker is a new interpreter that knows the door and nothing else. It is not forked, since a child of a process that
used Polars or delta-rs hangs; and it ends when its pipe does, so none outlives a process that was killed.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.connection import Connection
from operator import attrgetter
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa

from ingest.bulk import EVENTS
from ingest.contracts import Unknown
from ingest.records import Lines, Part, Record
from ingest.validation import Accepted, Door, Fitted, Refused

log = logging.getLogger("rwcm.ingest")

ALONE = 2
"""Parts that are judged before workers are started: a small batch does not pay for them."""

_AHEAD = 2
"""Parts per worker that are judged ahead of what is committed."""

K = TypeVar("K")


@dataclass(frozen=True)
class Judged:
    """What became of the records of a part.

    Attributes:
        read: how many records it held.
        events: those that were accepted, in order, in the columns of `EVENTS`.
        refused: the others, each with the offset at which it starts.
        unknown: members that the schema does not know of those that were accepted with some, by offset.
    """

    read: int
    events: pa.RecordBatch
    refused: list[tuple[int, Refused]]
    unknown: dict[int, tuple[Unknown, ...]]


def judge(door: Door, part: Part, latest: datetime) -> Judged:
    """Return what becomes of the records of a part; their times are held against `latest`."""
    raws, offsets, record_at = _laid_out(part)
    accepted, left = door.accept(raws, offsets, received_at=latest)
    events: list[Accepted] = []
    places: list[int] = []
    refused: list[tuple[int, Refused]] = []
    unknown: dict[int, tuple[Unknown, ...]] = {}
    for place in left:
        if (record := record_at(place)) is None:
            continue
        verdict = door.check(record, received_at=latest)
        if isinstance(verdict, Refused):
            refused.append((record.offset, verdict))
            continue
        events.append(verdict)
        places.append(place)
        if isinstance(verdict, Fitted):
            unknown[record.offset] = verdict.unknown
    if events:
        columns = [pa.array(list(map(attrgetter(field.name), events)), field.type) for field in list(EVENTS)[:-1]]
        starts = pa.array([offsets[place] for place in places], pa.int64())
        one_by_one = pa.RecordBatch.from_arrays([*columns, starts], schema=EVENTS)
        at_once = np.delete(np.arange(len(raws)), left)
        in_order = np.argsort(np.concatenate((at_once, places)))
        accepted = pa.concat_batches([accepted, one_by_one]).take(pa.array(in_order))
    return Judged(accepted.num_rows + len(refused), accepted, refused, unknown)


def _laid_out(part: Part) -> tuple[Sequence[bytes], Sequence[int], Callable[[int], Record | None]]:
    """Return the texts of a part, where they start, and what makes the record of one of them, None if it is blank."""
    if isinstance(part, Lines):  # most parts are lines, and most lines need no record made of them
        lines, starts = part.split()
        return lines, starts, lambda place: part.record(lines[place], starts[place])
    records = list(part)
    raws = [b"" if record.is_text else record.raw for record in records]
    return raws, [record.offset for record in records], records.__getitem__


class Judges(Generic[K]):
    """Judges parts in their order, with the help of workers when there is enough to do."""

    def __init__(self, door: Door, *, workers: int | None = None) -> None:
        self._door = door
        self._count = len(os.sched_getaffinity(0)) if workers is None else workers
        self._workers: list[_Worker] = []
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._threads: ThreadPoolExecutor | None = None
        self._seen = 0
        self._is_closing = False

    def __enter__(self) -> "Judges[K]":
        return self

    def __exit__(self, *exception: object) -> None:
        self._is_closing = True
        # Workers first: a thread that waits for one is set free by its end.
        for worker in self._workers:
            worker.stop()
        if self._threads:
            self._threads.shutdown(cancel_futures=True)

    def judge(self, parts: Iterable[tuple[K, Part, datetime]]) -> Iterator[tuple[K, Judged]]:
        """Yield each part's key and what became of its records."""
        ahead: deque[tuple[K, Future[Judged]]] = deque()
        for key, part, latest in parts:
            self._seen += 1
            if self._seen <= ALONE or self._count < 2:
                yield key, judge(self._door, part, latest)
                continue
            ahead.append((key, self._started().submit(self._hand_over, part, latest)))
            if len(ahead) > _AHEAD * self._count:
                yield _result(ahead.popleft())
        while ahead:
            yield _result(ahead.popleft())

    def _started(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._count, "judge")
            self._workers = [_Worker(self._door) for _ in range(self._count)]
            for worker in self._workers:
                self._idle.put(worker)
        return self._threads

    def _hand_over(self, part: Part, latest: datetime) -> Judged:
        worker = self._idle.get()
        try:
            return worker.judge(part, latest)
        except (EOFError, OSError):
            if self._is_closing:
                raise
            log.warning("a worker ended (status %s); its part is judged by the main process", worker.status())
            return judge(self._door, part, latest)
        finally:
            self._idle.put(worker)


def _result(ahead: tuple[K, "Future[Judged]"]) -> tuple[K, Judged]:
    key, future = ahead
    return key, future.result()


class _Worker:
    """Another process with a door of its own."""

    def __init__(self, door: Door) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this very interpreter
                # -P: nothing is imported from the folder that somebody happens to stand in.
                [sys.executable, "-P", "-c", f"from ingest.judging import serve; serve({theirs.fileno()})"],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        self._pipe: Connection[Any, Any] = Connection(ours.detach())
        self._door: Door | None = door

    def judge(self, part: Part, latest: datetime) -> Judged:
        if self._door:
            self._pipe.send(self._door)
            self._door = None
        self._pipe.send((part, latest))
        judged: Judged = self._pipe.recv()
        return judged

    def status(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._pipe.close()


def serve(descriptor: int) -> None:
    """Judge what comes through a socket until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a key that was pressed is for the main process
    pipe: Connection[Any, Any] = Connection(descriptor)
    try:
        door = pipe.recv()
        while True:
            part, latest = pipe.recv()
            pipe.send(judge(door, part, latest))
    except (EOFError, OSError):
        return
