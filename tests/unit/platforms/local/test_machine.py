"""What this machine offers, what fits, and where things are: pure parts of the platform."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanza.endpoints.platform import Instance
from lanza.errors import BadRequest, ModelError, NoRoom, UsageError
from lanza.platforms.local.addresses import LONGEST, short_path
from lanza.platforms.local.offers import GIB, SHIPPED, Machine, Prices, _cores, offers
from lanza.platforms.local.programs import belongings, find_program
from lanza.platforms.local.room import Taken, require_room

PRICES = Prices(core_hour=0.02, gib_hour=0.01, as_of="2026-11-20")


def machine(cores: int = 4, memory: int = 16 * GIB) -> Machine:
    return Machine(cores=cores, memory=memory, architecture="a test")


def instance(cpus: float = 1, gib: float = 2) -> Instance:
    return Instance(
        vendor="lanza", region="local", accelerator="cpu", type="cpu", size="x1", architecture="a test",
        cpus=cpus, memory_bytes=int(gib * GIB),
    )  # fmt: skip


def test_offers_share_the_machine() -> None:
    found = {it.id: it for it in offers(machine(6, 24 * GIB), PRICES, oversubscription=2)}
    assert list(found) == [
        f"lanza-local-{name}"
        for name in (
            "cpu-x1",
            "memory-x1",
            "cpu-x2",
            "memory-x2",
            "cpu-x4",
            "memory-x4",
            "cpu-x6",
            "memory-x6",
        )
    ]
    assert found["lanza-local-cpu-x1"].memory_bytes == 2 * GIB
    assert found["lanza-local-memory-x6"].memory_bytes == 24 * GIB
    assert found["lanza-local-cpu-x1"].price_per_hour == pytest.approx(0.04)
    assert found["lanza-local-cpu-x1"].price_as_of == "2026-11-20"


@given(cores=st.integers(1, 256), gib=st.integers(1, 4096), times=st.sampled_from([1.0, 1.5, 2.0, 8.0]))
def test_as_many_fit_by_memory_as_by_cores(cores: int, gib: int, times: float) -> None:
    here = machine(cores, gib * GIB)
    all_of_them = offers(here, PRICES, oversubscription=times)
    assert len({it.id for it in all_of_them}) == len(all_of_them)
    smallest = all_of_them[0]
    taken: list[Taken] = []
    while len(taken) < int(cores * times):
        require_room(smallest, here, taken, oversubscription=times, available=here.memory)
        taken.append(Taken(endpoint="ana/a", cpus=smallest.cpus, memory=smallest.memory_bytes))
        if len(taken) > 40:
            return
    with pytest.raises(NoRoom):
        require_room(smallest, here, taken, oversubscription=times, available=here.memory)


def test_the_shipped_prices_are_dated() -> None:
    prices = Prices.read(SHIPPED)
    assert prices.as_of >= "2026"
    assert prices.of(1, 2 * GIB) == pytest.approx(0.033)


@pytest.mark.parametrize("text", ["", "as_of = '2026'", "core_hour = 'x'", "core_hour = [", "\x00"])
def test_a_price_file_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "prices.toml").write_text(text)
    with pytest.raises(UsageError, match=r"prices\.toml is no price file"):
        Prices.read(tmp_path / "prices.toml")


def test_a_negative_price_is_refused(tmp_path: Path) -> None:
    (tmp_path / "prices.toml").write_text("as_of = '2026-01-01'\ncore_hour = -1\ngib_hour = 0\n")
    with pytest.raises(UsageError, match="a price is not negative"):
        Prices.read(tmp_path / "prices.toml")


@pytest.mark.parametrize(
    ("text", "cores"), [("max 100000", None), ("100000 100000", 1), ("50000 100000", 1), ("nonsense", None)]
)
def test_cores_of_a_container_count(tmp_path: Path, text: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert _cores(tmp_path) == (cores or len(os.sched_getaffinity(0)))


def test_room_is_refused_with_who_has_it() -> None:
    taken = [Taken(endpoint="ana/a", cpus=4, memory=2 * GIB), Taken(endpoint="eva/b", cpus=3.5, memory=GIB)]
    with pytest.raises(NoRoom) as raised:
        require_room(instance(), machine(), taken, oversubscription=2, available=16 * GIB)
    assert str(raised.value) == (
        "cpu-x1 asks for 1 cores, and 0.5 of 8 are free (4 cores, each promised 2 times); the rest is taken "
        "by ana/a (4 cores, 2.0 GiB), eva/b (3.5 cores, 1.0 GiB)."
    )


def test_memory_is_promised_once() -> None:
    taken = [Taken(endpoint="ana/a", cpus=1, memory=15 * GIB)]
    with pytest.raises(
        NoRoom, match=r"asks for 2\.0 GiB of memory, and 1\.0 GiB of 16\.0 GiB is free; .*ana/a"
    ):
        require_room(instance(), machine(), taken, oversubscription=2, available=16 * GIB)


def test_memory_that_others_use_is_not_free() -> None:
    with pytest.raises(NoRoom, match=r"and 1\.0 GiB of 16\.0 GiB is free\."):
        require_room(instance(), machine(), [], oversubscription=2, available=GIB)
    # What a replica has been promised and does not use yet is not free either.
    taken = [Taken(endpoint="ana/a", cpus=1, memory=4 * GIB, used=GIB)]
    with pytest.raises(NoRoom, match=r"and 0\.0 GiB"):
        require_room(instance(), machine(), taken, oversubscription=2, available=3 * GIB)


def test_many_takers_are_not_all_named() -> None:
    taken = [Taken(endpoint=f"ana/{i}", cpus=1, memory=GIB) for i in range(8)]
    with pytest.raises(NoRoom, match=r"ana/4 \(1 cores, 1\.0 GiB\), 3 more\."):
        require_room(instance(), machine(), taken, oversubscription=2, available=16 * GIB)


@pytest.mark.parametrize(
    ("cpus", "gib", "needs", "said"),
    [
        (5, 2, 0, "this machine 4 and 16.0 GiB: choose a smaller one"),
        (1, 17, 0, "choose a smaller one"),
        (1, 2, 3 * GIB, "the model needs about 3.0 GiB of memory, and cpu-x1 has 2.0 GiB"),
    ],
)
def test_what_never_fits_is_a_bad_request(cpus: float, gib: float, needs: int, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        require_room(instance(cpus, gib), machine(), [], oversubscription=2, available=16 * GIB, needs=needs)


def test_a_short_path_is_used_as_it_is(tmp_path: Path) -> None:
    assert short_path(Path("/data/run")) == Path("/data/run")


def test_a_long_path_gets_a_link_that_only_we_may_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as temporary:  # a short one, wherever the tests' own folder lies
        monkeypatch.setattr("tempfile.tempdir", temporary)
        _check_links(tmp_path)


def _check_links(tmp_path: Path) -> None:
    run = tmp_path / ("x" * 90) / "run"
    run.mkdir(parents=True)
    short = short_path(run)
    assert len(str(short)) + 20 <= LONGEST
    assert short.resolve() == run
    assert short.parent.stat().st_mode & 0o777 == 0o700
    assert short_path(run) == short
    run.rmdir()
    other = tmp_path / ("y" * 90) / "run"
    other.mkdir(parents=True)
    assert short_path(other).resolve() == other
    assert not short.is_symlink()  # what led nowhere is gone


def test_a_folder_that_others_may_write_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own = tmp_path / f"lanza-{os.getuid()}"
    own.mkdir()
    own.chmod(0o777)
    with pytest.raises(UsageError, match="not a folder that only we may write to"):
        short_path(tmp_path / ("x" * 90) / "run")


def test_programs_are_found_on_the_path_and_in_the_folder(tmp_path: Path) -> None:
    script = tmp_path / "serve.sh"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    assert find_program("./serve.sh", tmp_path) == script
    assert find_program("true", None).name == "true"
    for word in ("./serve.sh", "no-such-program", str(tmp_path)):
        with pytest.raises(ModelError, match="there is no program"):
            find_program(word, None)


def test_what_belongs_to_a_program(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    for name in ("bin/tool", "tool"):
        (home / name).write_text("#!/bin/sh\n")
    # Never a folder that is to be hidden as a whole, nor one around it.
    assert belongings(home / "bin" / "tool", [home])[0] == str(home / "bin")
    assert belongings(home / "tool", [home])[0] == str(home / "tool")
    assert belongings(home / "tool", [])[0] == str(home)
    environment = tmp_path / "venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "pyvenv.cfg").write_text("home = /opt/python/bin\n")
    (environment / "bin" / "tool").write_text(f"#!{sys.executable}\n")
    found = belongings(environment / "bin" / "tool", [home])
    assert found[:2] == [str(environment), "/opt/python"]
    assert str(Path(sys.executable).resolve().parent.parent) in found


def test_a_core_has_two_gib_where_the_machine_has_plenty() -> None:
    found = {it.id: it.memory_bytes for it in offers(machine(4, 64 * GIB), PRICES, oversubscription=2)}
    assert found["lanza-local-cpu-x1"] == 2 * GIB
    assert found["lanza-local-cpu-x4"] == 8 * GIB
    assert found["lanza-local-memory-x1"] == 16 * GIB
    assert found["lanza-local-memory-x4"] == 64 * GIB
