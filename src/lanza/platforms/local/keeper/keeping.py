"""The life of one replica: prepared, started, ready, drained, ended; and its end told, however it came.

    prepare ──▶ start ──▶ ready ──▶ drain ──▶ gone
       └──────────┴─────────┴─ a limit, an end by itself, nobody who wants it ─▶ gone

One loop waits for whatever comes first (`_turn`). What ends the replica is raised as `Ended`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from lanza.platforms.local.instructions import BUBBLEWRAP, Instructions, Job
from lanza.platforms.local.keeper import processes
from lanza.platforms.local.keeper.answers import Answers, known, remember
from lanza.platforms.local.keeper.child import Child, read, reap
from lanza.platforms.local.keeper.clearing import end_all_below
from lanza.platforms.local.keeper.disk import Disk, DiskFull
from lanza.platforms.local.keeper.ending import (
    Ended,
    by_itself,
    exit_status,
    size,
    while_prepared,
    with_last_lines,
)
from lanza.platforms.local.keeper.events import Signals, wait
from lanza.platforms.local.keeper.launch import Launch, of_job, of_program, of_replica
from lanza.platforms.local.keeper.log import Log
from lanza.platforms.local.keeper.ports import LOOPBACK, free_port, listen, require_free
from lanza.platforms.local.keeper.probe import Watch
from lanza.platforms.local.keeper.watch import LOOK_EVERY, SERVER_EVERY, Usage, Wanted
from lanza.platforms.local.layout import DRAINING, GONE, READY, RunFolder, State, shout

TELL_EVERY: Final = 1.0
"""Seconds between two tellings of what a replica uses."""
POLITE: Final = 5.0
"""Seconds that the last requests get when the machine is shut down."""
NICE: Final = 10
"""The job before a first start makes way for those that serve."""
_NO_TIME: Final = float("inf")


class Keeper:
    """Keeps one replica. `run` returns when it has ended; it is not called twice."""

    def __init__(self, folder: RunFolder, told: Instructions) -> None:
        self._folder = folder
        self._told = told
        self._log = Log(folder.log, folder.older_log, told.secrets)
        self._signals = Signals()
        self._wishes = os.open(folder.wishes, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._wanted = Wanted(told, folder)
        self._disk = Disk([folder.tmp, *(Path(it) for it in told.sandbox.writable)])
        self._state = State()
        self._told_at = 0.0
        self._child: Child | None = None
        self._usage: Usage | None = None
        self._health: Watch | None = None
        self._drain_until: float | None = None
        self._next_watch = self._next_server = 0.0
        self._ready = False
        self._starved = (processes.killed_for_memory(),) * 2
        self._late_at = time.monotonic() + told.start_timeout
        self._answers: Answers | None = None

    def run(self) -> None:
        try:
            self._tell()
            found = self._prepared() if self._told.job is not None else {}
            self._start(found)
            outcome = self._served()
        except Ended as ended:
            outcome = ended
        except OSError as error:
            outcome = Ended(f"its keeper could not go on: {error}", failed=True)
        self._end_all()
        if isinstance(outcome, DiskFull):
            for place in self._disk.places:
                shutil.rmtree(place, ignore_errors=True)
        reason = with_last_lines(outcome.reason, self._log.last) if outcome.quotes else outcome.reason
        self._log.say(f"lanza: {outcome.reason}")
        self._log.close()
        self._state = State(
            phase=GONE,
            reason=reason,
            failed=outcome.failed,
            killed=outcome.killed,
            ended_at=time.time(),
        )
        self._tell()

    # The job before a first start

    def _prepared(self) -> dict[str, Any]:
        """What the job has found out, now or before."""
        assert self._told.job is not None
        job = self._told.job
        found = known(Path(job.result)) or self._run_job(job)
        needs = found.pop("needs")
        if needs > self._told.memory:
            raise Ended(
                f"the model needs about {size(needs)} of memory to be served, and {self._told.instance} has "
                f"{size(self._told.memory)}: choose an instance with more",
                failed=True,
                plain=True,
            )
        self._log.say(f"lanza: served by {found['engine']}: {found['why']}")
        return found

    def _run_job(self, job: Job) -> dict[str, Any]:
        def tell(step: str) -> None:
            self._log.say(f"lanza: {step}")
            self._state = self._state.but(progress=step)
            self._tell()

        answers = self._answers = Answers(tell)
        for place in job.writable:
            Path(place).mkdir(parents=True, exist_ok=True)
        child = self._launch(of_job(self._told, job, tmp=str(self._folder.tmp)))
        os.setpriority(os.PRIO_PROCESS, child.pid, NICE)
        code = self._until_it_ends()
        if answers.error:
            raise Ended(answers.error, failed=True, plain=True)
        if answers.prepared is None:
            raise while_prepared(code, starved=self._is_starved())
        self._child = self._usage = self._answers = None
        self._state = self._state.but(progress="")
        remember(Path(job.result), answers.prepared)
        return dict(answers.prepared)

    # The replica

    def _start(self, found: dict[str, Any]) -> None:
        told, tmp = self._told, str(self._folder.tmp)
        place: str | tuple[str, int]
        if told.spec is None:
            port = told.port or free_port()
            require_free(port)
            self._launch(of_program(told, port, tmp=tmp))
            place, address = (LOOPBACK, port), f"http://{LOOPBACK}:{port}"
        else:
            place, address = self._folder.socket.name, told.address
            listener = listen(place)
            self._launch(of_replica(told, told.spec, found, listener, tmp=tmp))
            # The replica's alone from here on: when it dies, callers are refused instead of kept waiting.
            os.close(listener)
        self._state = self._state.but(address=address)
        self._health = Watch(place, told.health_route, now=time.monotonic())

    def _launch(self, launch: Launch) -> Child:
        self._child = launch.run(tmp=str(self._folder.tmp))
        self._usage = Usage(self._told, self._child.pid)
        return self._child

    @property
    def _wrapped(self) -> bool:
        return self._told.sandbox.isolation == BUBBLEWRAP

    # The loop

    def _served(self) -> Ended:
        """How it has ended by itself, or as it was told to; other ends are raised."""
        code = self._until_it_ends()
        if self._drain_until is not None:
            return Ended("it was told to stop", failed=False)
        return by_itself(code, ready=self._ready, starved=self._is_starved())

    def _until_it_ends(self) -> int:
        """The exit status of what was launched last."""
        child = self._child
        assert child is not None
        while child.status is None:
            self._turn(child)
        self._read_all(child)
        return exit_status(child.status, wrapped=self._wrapped)

    def _turn(self, child: Child) -> None:
        """Wait for what comes first, and deal with all that is there."""
        now = time.monotonic()
        readers = [self._signals.reader, self._wishes]
        readers += [number for number in (child.output, child.answers) if number is not None]
        health = self._health
        if health is None:
            wait(readers, [], self._next_time() - now)
        else:
            wait([*readers, *health.reads], health.writes, self._next_time() - now)
        now = time.monotonic()
        self._signals.clear()
        self._read(child, now)
        self._take_wishes(now)
        reap(child)
        if child.status is not None:
            return
        self._check_time(now)
        self._check_health(now)
        self._watch(now)

    def _next_time(self) -> float:
        watches = min(self._next_watch, self._next_server)
        end = self._late_at if self._drain_until is None else self._drain_until
        return min(watches, end, _NO_TIME if self._health is None else self._health.due)

    def _read(self, child: Child, now: float) -> None:
        if child.output is not None:
            data = read(child.output)
            if data is None:
                os.close(child.output)
                child.output = None
            elif data:
                self._log.feed(data, now)
        if child.answers is not None:
            data = read(child.answers)
            if data is None:
                os.close(child.answers)
                child.answers = None
            elif data and self._answers is not None:
                self._answers.hear(data)

    def _read_all(self, child: Child) -> None:
        """What it has said before it ended; others may hold its pipe open, so not until the pipe's end."""
        now, until = time.monotonic(), time.monotonic() + 0.5
        while (child.output is not None or child.answers is not None) and time.monotonic() < until:
            numbers = [number for number in (child.output, child.answers) if number is not None]
            if not wait(numbers, [], 0):
                break
            self._read(child, now)
        child.close()

    def _take_wishes(self, now: float) -> None:
        with suppress(BlockingIOError):
            for line in os.read(self._wishes, 4096).splitlines():
                with suppress(ValueError, TypeError, KeyError):
                    self._stop(float(json.loads(line)["drain"]), now)
        if self._signals.asked_to_end:
            self._stop(POLITE, now)

    def _stop(self, drain: float, now: float) -> None:
        if not self._ready:
            raise Ended("it was told to stop", failed=False)
        if self._drain_until is not None:
            self._drain_until = min(self._drain_until, now + drain)
            return
        self._drain_until = now + drain
        self._health = None  # one that stops is not asked how it is
        self._state = self._state.but(phase=DRAINING)
        self._tell()
        main = None if self._usage is None else self._usage.main()
        if main is not None:
            with suppress(ProcessLookupError):
                os.kill(main, signal.SIGTERM)

    def _check_time(self, now: float) -> None:
        if self._drain_until is not None and now >= self._drain_until:
            raise Ended("it was told to stop, and was killed when its time for that was over", failed=False)
        if now >= self._late_at:
            met = "" if self._health is None else f"GET {self._told.health_route}: {self._health.health.last}"
            where = self._state.progress or met
            raise Ended(f"it was not ready within {self._told.start_timeout:g} s ({where})", failed=True)

    def _check_health(self, now: float) -> None:
        if self._health is None:
            return
        if self._health.go_on(now):
            self._ready, self._late_at = True, _NO_TIME
            self._state = self._state.but(phase=READY, progress="")
            self._tell()
        health = self._health.health
        if health.unhealthy:
            raise Ended(
                f"it was ended, as GET {self._told.health_route} failed {health.failures} times in a row: "
                f"{health.last}",
                failed=True,
            )

    def _watch(self, now: float) -> None:
        if now >= self._next_watch and self._usage is not None:
            self._next_watch = now + LOOK_EVERY
            self._log.pass_time(now)
            self._usage.look(now)
            self._disk.look(now)
            if now - self._told_at >= TELL_EVERY:
                self._state = self._state.but(cpu=round(self._usage.cpu, 3), memory=self._usage.memory)
                self._told_at = now
                self._folder.write_state(self._state)
        if now >= self._next_server:
            self._next_server = now + SERVER_EVERY
            self._starved = (self._starved[1], processes.killed_for_memory())
            self._wanted.look(now)

    # Telling, and the end

    def _tell(self) -> None:
        """Write how it is, and wake the server."""
        self._folder.write_state(self._state)
        shout(Path(self._told.news), b".")

    def _is_starved(self) -> bool:
        """Whether the system has killed for want of memory in the last seconds."""
        return processes.killed_for_memory() > self._starved[0]

    def _end_all(self) -> None:
        end_all_below(self._child, wrapped=self._wrapped, wait_a_moment=self._wait_a_moment)
        if self._child is not None:
            self._read_all(self._child)

    def _wait_a_moment(self) -> None:
        """Until some process has ended, or a moment later."""
        wait([self._signals.reader], [], 0.02)
        self._signals.clear()
