from __future__ import annotations

import random
from typing import TYPE_CHECKING
from uuid import UUID
from zlib import crc32

import pytest

from edge_agent.errors import Unavailable
from edge_agent.outbox.boots import number_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.outbox.outbox import Content, Outbox

KERNELS = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"


def test_the_number_of_a_boot_is_the_first_53_bits_of_its_id() -> None:
    assert number_of(KERNELS) == int(KERNELS.replace("-", "")[:14], 16) >> 3
    assert number_of(str(UUID(int=(1 << 128) - 1))) == (1 << 53) - 1
    assert number_of("simulated-1-0") != number_of("simulated-2-0")
    assert 1 << 40 < number_of("simulated-1-0") < 1 << 53


def test_a_boot_has_the_same_number_in_a_new_outbox(open_outbox: Callable[..., Outbox], tmp_path: Path) -> None:
    before = open_outbox(boot_id=KERNELS)
    assert before.boot == number_of(KERNELS)
    assert open_outbox(directory=tmp_path / "new", boot_id=KERNELS).boot == before.boot
    assert open_outbox(directory=tmp_path / "other", boot_id=KERNELS[::-1]).boot != before.boot


def test_a_boot_that_a_release_before_counted_keeps_its_count_while_it_runs(
    open_outbox: Callable[..., Outbox], batch: Callable[..., Content]
) -> None:
    before = open_outbox(boot_id=KERNELS)
    before.add(batch(1))
    before.commit()
    before._store.writable().execute("UPDATE boot SET boot = 7")
    (body,) = before._store.writable().execute("SELECT body FROM record").fetchone()
    before._store.writable().execute("UPDATE record SET boot = 7, crc = ?", (crc32(body),))
    before.close()
    outbox = open_outbox(boot_id=KERNELS)
    assert outbox.boot == 7
    assert [(record.boot, record.offset_ns) for _lane, record in outbox.hand_out(1)] == [(7, 1_000)]
    outbox.close()
    assert open_outbox(boot_id="another").boot == number_of("another")


def test_an_epoch_has_53_bits_and_is_not_given_twice(open_outbox: Callable[..., Outbox]) -> None:
    drawn = [0, (1 << 53) - 5]

    class Scripted(random.Random):
        def getrandbits(self, k: int, /) -> int:
            return drawn.pop(0) if k == 53 else 0

    outbox = open_outbox(epoch=5)
    assert outbox.epoch == 5
    outbox.close()
    with pytest.raises(Unavailable, match="records of epoch 5 already; give another --epoch, or none"):
        open_outbox(epoch=5)
    drawn[0] = 5
    again = open_outbox(rng=Scripted())
    assert again.epoch == (1 << 53) - 5
    again.close()
