"""The handler engine: keeps one process of the user's handler alive, and calls it.

    start ──▶ loaded ──▶ died ──▶ waiting (0.1 s … 10 s) ──▶ starting ──▶ loaded ...
                │                     ▲                         │ cannot be loaded
              calls                   └─────────────────────────┘

A call under which the process dies is an EngineRestarting; one that it had not begun is given to the next
process. Calls that come in between wait for it, for at most `PATIENCE` seconds. HTTP is not decoded here.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from lanza.engines.base import About, EngineOptions, HandlerAnswer, HandlerRequest
from lanza.engines.handler.calls import NeverStarted
from lanza.engines.handler.environment import handler_environment
from lanza.engines.handler.requirements import prepare_python, read_requirements
from lanza.engines.handler.restarts import count_failure, delay_after
from lanza.engines.handler.worker import Launch, Worker, logger
from lanza.errors import EngineRestarting, ModelError, Unavailable

PATIENCE = 10.0
"""Seconds that a call waits for a process that is being started again."""


class HandlerProcess:
    """One handler and the process that it runs in. `start` it, and `close` it, on one event loop."""

    def __init__(self, options: EngineOptions) -> None:
        self._folder = options.facts.path.resolve()
        if not any((self._folder / name).is_file() for name in ("handler.py", "pipeline.py")):
            raise ModelError(
                f"There is no handler.py in {options.facts.path}: write one with `lanza init handler`, "
                "or drop --engine handler."
            )
        self._options = options
        self._environment: Mapping[str, str] = handler_environment(options, os.environ)
        self._own_environment = read_requirements(self._folder) is not None
        self._worker: Worker | None = None
        self._up = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False
        self._cause = ""

    @property
    def about(self) -> About:
        task = self._options.task.name if self._options.task else self._options.facts.task
        # what it computes with is the handler's business
        return About(
            engine="handler",
            why=self._options.why,
            task=task,
            device="",
            dtype="",
            details={"own_environment": self._own_environment},
        )

    async def start(self) -> None:
        """Prepare the environment, start the process, wait until the handler is loaded. ModelError if not."""
        python = await prepare_python(self._folder, home=self._options.home)
        launch = Launch(python=python, folder=self._folder, environment=self._environment)
        self._take(await Worker.launch(launch))
        self._keeper = asyncio.create_task(self._keep(launch), name="handler-keeper")

    async def call(self, request: HandlerRequest) -> HandlerAnswer:
        """The handler's answer; see `HandlerEngine`. A cancelled call is dropped by the handler too."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while True:
            worker = await self._wait_for_worker(deadline)
            try:
                return await worker.call(request)
            except NeverStarted:
                if worker is self._worker:
                    self._up.clear()

    def close(self) -> None:
        """End the process: asked first, then terminated, then killed. May block for a few seconds."""
        self._closed = True
        if self._keeper is not None and not self._keeper.get_loop().is_closed():
            self._keeper.get_loop().call_soon_threadsafe(self._keeper.cancel)
        if self._worker is not None:
            self._worker.stop()

    async def _wait_for_worker(self, deadline: float) -> Worker:
        if self._closed:
            raise Unavailable("The handler is shut down.")
        try:
            async with asyncio.timeout_at(deadline):
                await self._up.wait()
        except TimeoutError:
            raise EngineRestarting(
                f"The handler's process {self._cause} and is not ready again: try later, and look at the "
                "replica's log.",
                retry_after=PATIENCE,
            ) from None
        assert self._worker is not None
        return self._worker

    def _take(self, worker: Worker) -> None:
        self._worker = worker
        self._up.set()
        worker.gone.add_done_callback(lambda _: self._up.clear())

    async def _keep(self, launch: Launch) -> None:
        """Start the process again whenever it has died, until closed."""
        loop = asyncio.get_running_loop()
        failures, born = 0, loop.time()
        while True:
            assert self._worker is not None
            self._cause = await asyncio.shield(self._worker.gone)
            failures = count_failure(failures, lived=loop.time() - born)
            while not await self._restarted(launch, delay_after(failures)):
                failures += 1
            born = loop.time()

    async def _restarted(self, launch: Launch, delay: float) -> bool:
        logger.warning("the handler's process %s; it is started again in %.1f s", self._cause, delay)
        await asyncio.sleep(delay)
        try:
            worker = await Worker.launch(launch)
        except ModelError as error:
            logger.error("%s", error)
            self._cause = f"died, and cannot be loaded again ({error.message.splitlines()[0]})"
            return False
        if self._closed:
            worker.stop()
        self._take(worker)
        return True
