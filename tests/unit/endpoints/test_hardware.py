"""The choice of hardware: what is asked for holds, what is left open is the smallest that will do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fake_platform import SMALL
from lanza.endpoints.hardware import choose
from lanza.endpoints.platform import Instance
from lanza.endpoints.spec import Compute, Provider
from lanza.errors import BadRequest

MEDIUM = replace(SMALL, size="x2", cpus=2, memory_bytes=2 * 2**30)
LARGE = replace(SMALL, size="x4", cpus=4, memory_bytes=4 * 2**30)
GPU = replace(LARGE, accelerator="gpu", type="nvidia-t4", size="x1", accelerators=1)
OFFERS = (SMALL, MEDIUM, LARGE)
ANY = Compute()
AWS = Provider(vendor="aws", region="us-east-1")
L4 = Compute(accelerator="gpu", instance_type="nvidia-l4", instance_size="x1")


def chosen(compute: Compute = ANY, needs: int = 0, offers: tuple[Instance, ...] = OFFERS) -> Instance:
    return choose(compute, Provider(), offers, needs_bytes=needs).instance


def test_nothing_in_particular_is_the_smallest_that_fits() -> None:
    assert chosen() == SMALL
    assert chosen(needs=2**30 + 1) == MEDIUM
    assert chosen(needs=2**40) == LARGE


def test_what_is_asked_for_holds() -> None:
    assert chosen(Compute(instance_type="cpu", instance_size="x4")) == LARGE
    assert chosen(Compute(instance_type="CPU", instance_size="X2"), needs=2**40) == MEDIUM
    assert chosen(Compute(accelerator="gpu"), offers=(*OFFERS, GPU)) == GPU
    assert choose(Compute(), Provider(vendor="", region=""), OFFERS).instance == SMALL


def test_what_is_not_here_is_refused_with_what_there_is_and_the_nearest() -> None:
    with pytest.raises(BadRequest, match=r"aws/us-east-1 nvidia-l4 x1 is not here") as raised:
        choose(L4, AWS, OFFERS)
    assert "cpu x1, cpu x2, cpu x4" in raised.value.message
    assert "instance type cpu, size x1" in raised.value.message
    with pytest.raises(BadRequest, match="instance type nvidia-t4"):
        choose(L4, AWS, (*OFFERS, GPU))
    with pytest.raises(BadRequest, match="size x4"):
        choose(Compute(instance_type="intel-icl", instance_size="x8"), AWS, OFFERS)


def test_a_rehearsal_takes_the_nearest_that_fits_and_says_so() -> None:
    found = choose(L4, AWS, OFFERS, needs_bytes=3 * 2**30, rehearse=True)
    assert found.instance == LARGE
    assert "aws/us-east-1 nvidia-l4 x1 is not here, so it runs on cpu x4" in found.warning
    assert choose(Compute(), Provider(), OFFERS, rehearse=True).warning == ""


def test_a_server_without_a_platform_says_so() -> None:
    with pytest.raises(BadRequest, match="without a platform"):
        choose(Compute(), Provider(), ())
