from __future__ import annotations

from typing import get_args, get_type_hints

import pytest

from edge_agent.config.model import Uplink
from edge_agent.wire.formats.choose import rewriter
from tests.wire.samples import MESSAGES, REFERRING, encoded

NAMES = [name for name in get_args(get_type_hints(Uplink)["format"]) if name != "sparkplug-b"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sample", sorted(MESSAGES.keys() - REFERRING))
def test_every_format_that_the_configuration_knows_takes_every_kind_of_record(name: str, sample: str) -> None:
    written = rewriter(name)(encoded(sample))
    assert written.payload
    assert written.topic is None


@pytest.mark.parametrize("sample", MESSAGES)
def test_a_batch_stays_as_it_is_to_the_byte(sample: str) -> None:
    written = rewriter("batch")(encoded(sample))
    assert written.payload == encoded(sample)
    assert (written.content_type, written.version) == ("application/vnd.edge-agent.batch;v=2", "2")
