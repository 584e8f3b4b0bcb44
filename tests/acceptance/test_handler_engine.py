"""The handler engine with real processes: how handlers are called, how they fail, how they come back."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
import signal
import sys
import textwrap
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from lanza.engines.base import EngineOptions, HandlerAnswer, HandlerEngine, HandlerRequest
from lanza.engines.handler import HandlerProcess
from lanza.errors import BadRequest, EngineRestarting, HandlerError, ModelError, Unavailable
from lanza.models.facts import FolderKind, ModelFacts

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the tests end processes by signals")

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a model folder of a handler's source and other files."""

    def write_folder(source: str, files: Mapping[str, str] | None = None, name: str = "handler.py") -> Path:
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        for path, text in {name: source, **(files or {})}.items():
            (folder / path).write_text(textwrap.dedent(text), encoding="utf-8")
        return folder

    return write_folder


def engine_for(folder: Path, **more: Any) -> HandlerProcess:
    facts = ModelFacts(path=folder, kind=FolderKind.HANDLER, files=(), has_handler=True)
    return HandlerProcess(EngineOptions(**{"facts": facts, "task": None, "why": "a test", **more}))


@contextlib.asynccontextmanager
async def running(folder: Path, **more: Any) -> AsyncIterator[HandlerProcess]:
    engine = engine_for(folder, **more)
    try:
        await engine.start()
        yield engine
    finally:
        await asyncio.to_thread(engine.close)


def request(inputs: Any, **more: Any) -> HandlerRequest:
    return HandlerRequest(data={"inputs": inputs}, content_type="application/json", **more)


async def ask(engine: HandlerProcess, inputs: Any) -> Any:
    return json.loads((await engine.call(request(inputs))).body)


async def events(answer: HandlerAnswer) -> list[Any]:
    assert answer.chunks is not None
    assert answer.content_type == "text/event-stream"
    chunks = [chunk async for chunk in answer.chunks]
    assert all(chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") for chunk in chunks)
    return [json.loads(chunk.removeprefix(b"data: ")) for chunk in chunks]


async def until(done: Callable[[], bool]) -> None:
    """Waits for what another process does; the test's own limit of time ends it."""
    while not done():
        await asyncio.sleep(0.01)


ECHO = """
    class EndpointHandler:
        def __init__(self, path):
            self.path = path

        def __call__(self, data):
            return {"got": data["inputs"], "path": self.path}
"""


def test_a_handler_answers_with_what_it_was_given(write: Write) -> None:
    folder = write(ECHO)

    async def main() -> None:
        async with running(folder) as engine:
            assert isinstance(engine, HandlerEngine)
            assert (engine.about.engine, engine.about.why) == ("handler", "a test")
            assert await ask(engine, {"año": [1, 2.5, None]}) == {
                "got": {"año": [1, 2.5, None]},
                "path": str(folder),
            }
            big = "x" * 5_000_000
            assert (await ask(engine, big))["got"] == big

    asyncio.run(main())


def test_the_older_form_is_served_too(write: Write) -> None:
    folder = write(ECHO.replace("EndpointHandler", "PreTrainedPipeline"), name="pipeline.py")

    async def main() -> None:
        async with running(folder) as engine:
            assert (await ask(engine, 1))["got"] == 1

    asyncio.run(main())


def test_modules_beside_the_handler_are_found_and_nothing_of_ours(write: Write) -> None:
    source = """
        import sys
        import os
        import wording
        class EndpointHandler:
            def __init__(self, path): pass
            def __call__(self, data):
                # names of our own modules, which the handler's folder may have as well
                names = ("wire", "values", "service", "lanza.errors")
                there = [name for name in names if name in sys.modules]
                return [wording.HELLO, there, os.getcwd(), sys.path[0]]
    """
    folder = write(source, {"wording.py": "HELLO = 'hola'\n"})

    async def main() -> None:
        async with running(folder) as engine:
            assert await ask(engine, 0) == ["hola", [], str(folder), str(folder)]

    asyncio.run(main())


def test_environment_is_its_own(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANZA_SECRET", "s")
    monkeypatch.setenv("HF_TOKEN", "hf_s")
    folder = write("""
        import os
        class EndpointHandler:
            def __init__(self, path): pass
            def __call__(self, data): return dict(os.environ)
    """)

    async def main() -> None:
        async with running(folder, environment={"MINE": "1"}, threads=3) as engine:
            variables = await ask(engine, 0)
        assert variables["MINE"] == "1"
        assert variables["OMP_NUM_THREADS"] == "3"
        assert variables["HF_MODEL_DIR"] == str(folder)
        assert not {"LANZA_SECRET", "HF_TOKEN"} & variables.keys()

    asyncio.run(main())


def test_its_errors_reach_the_caller_and_the_traceback_the_log(
    write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lanza.handler")
    folder = write("""
        import sys
        class TooShort(Exception): pass
        class EndpointHandler:
            def __init__(self, path): pass
            def __call__(self, data):
                match data["inputs"]:
                    case "own": raise TooShort("give me ñ")
                    case "stop": raise StopIteration
                    case "exit": sys.exit("bye")
                    case "object": return [object()]
                    case "long": raise ValueError("x" * 100_000)
                return "fine"
    """)

    async def error_of(engine: HandlerProcess, data: Any) -> str:
        with pytest.raises(HandlerError) as caught:
            await engine.call(HandlerRequest(data=data, content_type="application/json"))
        return str(caught.value)

    async def main() -> None:
        async with running(folder) as engine:
            assert (await error_of(engine, {})).startswith(
                "KeyError: 'inputs' (raised in handler.py, line 7)"
            )
            assert "TooShort: give me ñ" in await error_of(engine, {"inputs": "own"})
            assert "StopIteration" in await error_of(engine, {"inputs": "stop"})
            assert "SystemExit: bye" in await error_of(engine, {"inputs": "exit"})
            assert "answer[0] holds a builtins.object" in await error_of(engine, {"inputs": "object"})
            assert len(await error_of(engine, {"inputs": "long"})) < 3000
            assert await ask(engine, "ok") == "fine"

    asyncio.run(main())
    assert "KeyError: 'inputs'" in caplog.text
    assert "Traceback" in caplog.text


@pytest.mark.parametrize("data", [[1], "text", 3, None])
def test_json_that_is_no_object_is_the_callers_fault(write: Write, data: Any) -> None:
    folder = write(ECHO)

    async def main() -> None:
        async with running(folder) as engine:
            with pytest.raises(BadRequest, match="JSON object"):
                await engine.call(HandlerRequest(data=data, content_type="application/json"))

    asyncio.run(main())


COUNTING = """
    import asyncio, threading, time
    class EndpointHandler:
        def __init__(self, path):
            self.now = self.most = 0
            self.all = asyncio.Event()
        {kind}def __call__(self, data):
            if data["inputs"] == "most":
                return self.most
            self.now += 1
            self.most = max(self.most, self.now)
            {body}
            self.now -= 1
            return data["inputs"]
"""


def test_async_calls_run_at_once(write: Write) -> None:
    # the tenth lets all of them go: it hangs unless all ten are running
    body = "self.all.set() if self.now == 10 else await self.all.wait()"
    folder = write(COUNTING.format(kind="async ", body=body))

    async def main() -> None:
        async with running(folder) as engine:
            assert await asyncio.gather(*(ask(engine, i) for i in range(10))) == list(range(10))
            assert await ask(engine, "most") == 10

    asyncio.run(main())


def test_other_calls_run_one_at_a_time(write: Write) -> None:
    folder = write(COUNTING.format(kind="", body="time.sleep(0.005)"))

    async def main() -> None:
        async with running(folder) as engine:
            assert await asyncio.gather(*(ask(engine, i) for i in range(10))) == list(range(10))
            assert await ask(engine, "most") == 1

    asyncio.run(main())


STREAMS = {
    "generator": "def __call__(self, data):\n        for i in range(data['inputs']): yield {'i': i}",
    "iterator": "def __call__(self, data): return ({'i': i} for i in range(data['inputs']))",
    "async generator": (
        "async def __call__(self, data):\n        for i in range(data['inputs']): yield {'i': i}"
    ),
    "async and returned": (
        "async def __call__(self, data):\n"
        "        async def values():\n"
        "            for i in range(data['inputs']): yield {'i': i}\n"
        "        return values()"
    ),
    "awaited then iterated": (
        "async def __call__(self, data): return ({'i': i} for i in range(data['inputs']))"
    ),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_what_is_yielded_is_streamed(write: Write, kind: str) -> None:
    folder = write(f"class EndpointHandler:\n    def __init__(self, path): pass\n    {STREAMS[kind]}\n")

    async def main() -> None:
        async with running(folder) as engine:
            for count in (3, 0, 2000):
                assert await events(await engine.call(request(count))) == [{"i": i} for i in range(count)]

    asyncio.run(main())


BREAKING = """
    import os
    class EndpointHandler:
        def __init__(self, path): pass
        {kind}def __call__(self, data):
            if data["inputs"] == 0:
                raise ValueError("at once")
            yield 1
            if data["inputs"] == 1:
                raise ValueError("in the middle")
            os._exit(1)
"""


@pytest.mark.parametrize("kind", ["", "async "])
def test_a_stream_that_breaks_ends_with_its_error(write: Write, kind: str) -> None:
    folder = write(BREAKING.format(kind=kind))

    async def main() -> None:
        async with running(folder) as engine:
            with pytest.raises(HandlerError, match="at once"):
                await engine.call(request(0))
            first, error = await events(await engine.call(request(1)))
            assert first == 1
            assert error["error"].startswith("ValueError: in the middle")
            first, error = await events(await engine.call(request(2)))
            assert (first, error["error_type"]) == (1, "engine_restarting")

    asyncio.run(main())


ENDLESS = """
    from pathlib import Path
    class EndpointHandler:
        def __init__(self, path): self.path = Path(path)
        {kind}def __call__(self, data):
            if data["inputs"] == "hello":
                yield "hello"
                return
            count = 0
            try:
                while True:
                    count += 1
                    yield count
            finally:
                (self.path / "closed").write_text(str(count))
"""


@pytest.mark.parametrize("kind", ["", "async "])
@pytest.mark.parametrize("how", ["closed", "cancelled"])
def test_a_stream_that_nobody_reads_waits_and_is_closed(write: Write, kind: str, how: str) -> None:
    folder = write(ENDLESS.format(kind=kind))

    async def read_and_leave(engine: HandlerProcess) -> None:
        answer = await engine.call(request("endless"))
        assert answer.chunks is not None
        assert [await anext(answer.chunks) for _ in range(3)] == [b"data: %d\n\n" % i for i in (1, 2, 3)]
        if how == "closed":
            await answer.chunks.aclose()  # type: ignore[attr-defined]
            return
        reading = asyncio.create_task(events(answer))
        await asyncio.sleep(0.05)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    async def main() -> None:
        async with running(folder) as engine:
            await read_and_leave(engine)
            await until((folder / "closed").exists)
            await until(lambda: bool((folder / "closed").read_text()))
            if how == "closed":  # it was not let run ahead of a reader who took three
                assert int((folder / "closed").read_text()) < 1000
            assert await events(await engine.call(request("hello"))) == ["hello"]

    asyncio.run(main())


BATCH = """
    import os, threading
    from pathlib import Path
    class EndpointHandler:
        def __init__(self, path):
            self.path = Path(path)
            self.sizes = []
        {kind}def batch(self, requests):
            inputs = [request["inputs"] for request in requests]
            self.sizes.append(len(inputs))
            if inputs == ["first"]:
                (self.path / "started").touch()
                while not (self.path / "go").exists(): {pause}
            if "bad" in inputs: raise ValueError("bad one")
            if "few" in inputs: return ["only one"] * 2
            if inputs == ["sizes"]: return [self.sizes]
            return [f"<{{x}}>" for x in inputs]
"""


@pytest.mark.parametrize(
    ("kind", "pause"), [("", "pass"), ("async ", "await __import__('asyncio').sleep(0.001)")]
)
def test_those_who_wait_are_given_together(write: Write, kind: str, pause: str) -> None:
    folder = write(BATCH.format(kind=kind, pause=pause))

    async def main() -> None:
        async with running(folder) as engine:
            first = asyncio.create_task(ask(engine, "first"))
            await until((folder / "started").exists)
            others = [asyncio.create_task(ask(engine, i)) for i in range(40)]
            await asyncio.sleep(0.2)  # so that they wait, most of them at least
            (folder / "go").touch()
            assert await first == "<first>"
            assert await asyncio.gather(*others) == [f"<{i}>" for i in range(40)]
            sizes = await ask(engine, "sizes")
            assert (sizes[0], sizes[-1], sum(sizes)) == (1, 1, 42)
            assert 10 < max(sizes) <= 32

    asyncio.run(main())


def test_a_bad_request_in_a_batch_is_told_to_its_sender_only(write: Write) -> None:
    folder = write(BATCH.format(kind="", pause="pass"))

    async def main() -> None:
        async with running(folder) as engine:
            tasks = [asyncio.create_task(ask(engine, "first"))]
            await until((folder / "started").exists)
            tasks += [asyncio.create_task(ask(engine, i)) for i in ("a", "bad", "b")]
            await asyncio.sleep(0.2)
            (folder / "go").touch()
            first, a, bad, b = await asyncio.gather(*tasks, return_exceptions=True)
            assert (first, a, b) == ("<first>", "<a>", "<b>")
            assert isinstance(bad, HandlerError)
            assert "ValueError: bad one" in str(bad)

    asyncio.run(main())


def test_a_batch_that_gives_too_few_says_so(write: Write) -> None:
    folder = write(BATCH.format(kind="", pause="pass"))

    async def main() -> None:
        async with running(folder) as engine:
            with pytest.raises(HandlerError, match=r"batch\(\) returned 2 results for 1 requests"):
                await ask(engine, "few")

    asyncio.run(main())


DYING = """
    import os, ctypes, time
    from pathlib import Path
    class EndpointHandler:
        def __init__(self, path):
            self.path = Path(path)
            if (self.path / "broken").exists(): raise RuntimeError("not again")
        def __call__(self, data):
            match data["inputs"]:
                case "exit": os._exit(7)
                case "segfault": ctypes.string_at(0)
                case "slow":
                    (self.path / "slow").touch()
                    time.sleep(0.2)
                    os._exit(1)
            return [data["inputs"], os.getpid()]
"""


@pytest.mark.parametrize(("how", "told"), [("exit", "ended with status 7"), ("segfault", "SIGSEGV")])
def test_a_death_is_an_error_once_and_then_a_restart(write: Write, how: str, told: str) -> None:
    folder = write(DYING)

    async def main() -> None:
        async with running(folder) as engine:
            _, before = await ask(engine, "hola")
            with pytest.raises(EngineRestarting, match=told) as caught:
                await ask(engine, how)
            assert caught.value.retry_after
            _, after = await ask(engine, "hola")
            assert before != after

    asyncio.run(main())


def test_those_who_waited_behind_a_death_are_answered(write: Write) -> None:
    folder = write(DYING)

    async def main() -> None:
        async with running(folder) as engine:
            dying = asyncio.create_task(ask(engine, "slow"))
            await until((folder / "slow").exists)
            others = [asyncio.create_task(ask(engine, i)) for i in range(5)]
            results = await asyncio.gather(*others)
            assert [got for got, _ in results] == list(range(5))
            with pytest.raises(EngineRestarting):
                await dying

    asyncio.run(main())


def test_one_that_cannot_come_back_says_so_and_is_tried_again(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lanza.engines.handler.process.PATIENCE", 0.5)
    folder = write(DYING)

    async def main() -> None:
        async with running(folder) as engine:
            (folder / "broken").touch()
            with pytest.raises(EngineRestarting):
                await ask(engine, "exit")
            with pytest.raises(EngineRestarting, match="not ready again"):
                await ask(engine, 1)
            (folder / "broken").unlink()
            for _ in range(20):
                with contextlib.suppress(EngineRestarting):
                    assert (await ask(engine, 2))[0] == 2
                    break
            else:
                pytest.fail("it never came back")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import no_such_module_here", "ModuleNotFoundError.*requirements.txt"),
        ("class Handler: pass", "handler.py has no class EndpointHandler"),
        ("EndpointHandler = 3", "handler.py has no class EndpointHandler"),
        ("class EndpointHandler:\n  def __init__(self, path): pass", "has no __call__"),
        ("class EndpointHandler: pass", "TypeError: EndpointHandler\\(\\) takes no arguments"),
        ("def (", "SyntaxError"),
        ("print('loading weights'); 1/0", "ZeroDivisionError.*line 1.*loading weights"),
        ("import os; print('too big'); os.kill(os.getpid(), 9)", "killed by SIGKILL.*too big"),
        ("import sys; sys.exit(2)", "SystemExit: 2"),
    ],
)
def test_a_handler_that_cannot_be_loaded_is_a_model_error(write: Write, source: str, told: str) -> None:
    async def main() -> None:
        async with running(write(source)):
            pass

    with pytest.raises(ModelError, match=f"(?s)cannot be loaded.*{told}"):
        asyncio.run(main())


def test_a_folder_without_a_handler_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="lanza init handler"):
        engine_for(tmp_path)


def test_a_cancelled_async_call_is_cancelled_there(write: Write) -> None:
    folder = write("""
        import asyncio
        from pathlib import Path
        class EndpointHandler:
            def __init__(self, path): self.path = Path(path)
            async def __call__(self, data):
                if data["inputs"] == "self": raise asyncio.CancelledError("no")
                (self.path / "started").touch()
                try:
                    await asyncio.sleep(600)
                finally:
                    (self.path / "cancelled").touch()
    """)

    async def main() -> None:
        async with running(folder) as engine:
            task = asyncio.create_task(ask(engine, 1))
            await until((folder / "started").exists)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until((folder / "cancelled").exists)
            with pytest.raises(HandlerError, match="CancelledError"):
                await ask(engine, "self")

    asyncio.run(main())


def test_a_cancelled_call_that_waits_is_never_begun(write: Write) -> None:
    folder = write("""
        from pathlib import Path
        class EndpointHandler:
            def __init__(self, path):
                self.path, self.seen = Path(path), []
            def __call__(self, data):
                self.seen.append(data["inputs"])
                if data["inputs"] == "first":
                    (self.path / "started").touch()
                    while not (self.path / "go").exists(): pass
                return self.seen
    """)

    async def main() -> None:
        async with running(folder) as engine:
            first = asyncio.create_task(ask(engine, "first"))
            await until((folder / "started").exists)
            second = asyncio.create_task(ask(engine, "second"))
            third = asyncio.create_task(ask(engine, "third"))
            await asyncio.sleep(0.1)
            second.cancel()
            await asyncio.sleep(0.1)
            (folder / "go").touch()
            assert await first == ["first"]
            assert await third == ["first", "third"]

    asyncio.run(main())


def test_what_it_prints_is_logged_and_never_blocks(write: Write, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lanza.handler")
    folder = write("""
        import os, sys
        class EndpointHandler:
            def __init__(self, path): print("loading ñ")
            def __call__(self, data):
                sys.stdout.write("y" * 50_000_000)
                for i in range(50_000): print("line", i)
                os.write(2, b"\\xff not text\\n")
                return "done"
    """)

    async def main() -> None:
        async with running(folder) as engine:
            assert await ask(engine, 0) == "done"

    asyncio.run(main())
    lines = [record.getMessage() for record in caplog.records]
    assert "loading ñ" in lines
    assert len(lines) < 20_000
    assert max(map(len, lines)) < 5000


def test_images_in_and_out(write: Write) -> None:
    image = pytest.importorskip("PIL.Image")
    folder = write("""
        class EndpointHandler:
            def __init__(self, path): pass
            def __call__(self, data):
                image = data["inputs"]
                return image.rotate(90, expand=True) if image.size[0] > 2 else list(image.size)
    """)

    def png(*size: int) -> bytes:
        target = io.BytesIO()
        image.new("RGB", size).save(target, "PNG")
        return target.getvalue()

    async def main() -> None:
        async with running(folder) as engine:
            small = await engine.call(HandlerRequest(data=png(2, 1), content_type="image/png"))
            assert json.loads(small.body) == [2, 1]
            large = HandlerRequest(data=png(4, 3), content_type="image/png", accept="image/png")
            answer = await engine.call(large)
            assert answer.content_type == "image/png"
            assert image.open(io.BytesIO(answer.body)).size == (3, 4)
            with pytest.raises(BadRequest, match="no image"):
                await engine.call(HandlerRequest(data=b"text", content_type="image/png"))

    asyncio.run(main())


def test_it_cannot_be_made_to_answer_for_others(write: Write) -> None:
    # what a handler writes into the line that it inherits ends its process, and not the replica
    folder = write("""
        import os
        class EndpointHandler:
            def __init__(self, path): pass
            def __call__(self, data):
                if data["inputs"] == "hola": return "hola"
                for number in os.listdir("/proc/self/fd"):
                    try: is_line = os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
                    except OSError: continue
                    if is_line: os.write(int(number), b"\\xff" * 12)
                return 1
    """)

    async def main() -> None:
        async with running(folder) as engine:
            with pytest.raises(EngineRestarting):
                await ask(engine, "forge")
            assert await ask(engine, "hola") == "hola"

    asyncio.run(main())


STUBBORN = """
    import os, signal, subprocess, sys, time
    from pathlib import Path
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    class EndpointHandler:
        def __init__(self, path):
            self.child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        def __call__(self, data):
            return [os.getpid(), self.child.pid]
"""


def gone(*pids: int) -> bool:
    def ended(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    return all(map(ended, pids))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_closing_ends_it_and_what_it_started(write: Write) -> None:
    async def main() -> None:
        async with running(write(STUBBORN)) as engine:
            pids = await ask(engine, 0)
            assert not gone(*pids)
        await until(lambda: gone(*pids))
        with pytest.raises(Unavailable):
            await ask(engine, 1)

    asyncio.run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_survives_a_replica_that_is_killed(write: Write, tmp_path: Path) -> None:
    folder = write(STUBBORN)
    replica = """
        import asyncio, sys
        from pathlib import Path
        sys.path[:0] = {path!r}
        from acceptance.test_handler_engine import engine_for, request
        async def main():
            engine = engine_for(Path({folder!r}))
            await engine.start()
            print((await engine.call(request(0))).body.decode(), flush=True)
            await asyncio.sleep(600)
        asyncio.run(main())
    """
    script = tmp_path / "replica.py"
    script.write_text(textwrap.dedent(replica).format(path=sys.path, folder=str(folder)))

    async def main() -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(script), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        pids = json.loads(await process.stdout.readline())
        assert not gone(*pids)
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        await until(lambda: gone(*pids))

    asyncio.run(main())


def wheel(folder: Path, name: str, version: str, source: str) -> None:
    """A package of one module, as pip takes it."""
    info = f"{name}-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", source)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")


USES_PACKAGE = """
    import sys
    import numpy
    import lanza_test_package
    class EndpointHandler:
        def __init__(self, path): pass
        def __call__(self, data):
            return [lanza_test_package.VALUE, sys.prefix, numpy.__version__]
"""
LOCAL_ONLY = "--no-index\n--find-links ./wheels\n"


def test_requirements_get_an_environment_of_their_own(write: Write, tmp_path: Path) -> None:
    import numpy

    requirements = LOCAL_ONLY + "lanza_test_package==1.5\n"
    folder = write(USES_PACKAGE, {"requirements.txt": requirements})
    wheel(folder / "wheels", "lanza_test_package", "1.5", "VALUE = 'installed'\n")
    home = tmp_path / "home"

    async def main() -> None:
        # two at once install once
        async with running(folder, home=home) as one, running(folder, home=home) as two:
            for engine in (one, two):
                value, prefix, version = await ask(engine, 0)
                assert (value, version) == ("installed", numpy.__version__)
                assert Path(prefix).parent == home / "envs"
        assert len(list((home / "envs").glob("*/.complete"))) == 1
        # the second time nothing is installed, so the wheels are not needed
        (folder / "wheels").rename(folder / "elsewhere")
        async with running(folder, home=home) as engine:
            assert (await ask(engine, 0))[0] == "installed"

    asyncio.run(main())


def test_an_environment_left_half_made_is_made_again(write: Write, tmp_path: Path) -> None:
    folder = write(USES_PACKAGE, {"requirements.txt": LOCAL_ONLY + "lanza_test_package\n"})
    home = tmp_path / "home"

    async def main() -> None:
        with pytest.raises(ModelError, match=r"(?s)pip install.*failed.*lanza_test_package"):
            await engine_for(folder, home=home).start()
        assert not list((home / "envs").glob("*/.complete"))
        wheel(folder / "wheels", "lanza_test_package", "2.0", "VALUE = 2\n")
        async with running(folder, home=home) as engine:
            assert (await ask(engine, 0))[0] == 2

    asyncio.run(main())


def test_a_restart_in_the_middle_of_everything(write: Write) -> None:
    """Killed from outside again and again: every call is an answer or a 503, and none is lost."""
    folder = write(DYING)

    async def main() -> None:
        async with running(folder) as engine:
            _, pid = await ask(engine, "hola")
            for _ in range(3):
                calls = [asyncio.create_task(ask(engine, i)) for i in range(30)]
                await asyncio.sleep(0)
                os.kill(pid, signal.SIGKILL)
                results = await asyncio.gather(*calls, return_exceptions=True)
                for index, result in enumerate(results):
                    assert isinstance(result, EngineRestarting) or result[0] == index
                assert sum(isinstance(result, EngineRestarting) for result in results) <= 1
                _, pid = await ask(engine, "hola")

    asyncio.run(main())
