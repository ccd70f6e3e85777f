from __future__ import annotations

import subprocess
import sys

import pytest

from edge_agent.agent.dialect import dialect_of
from edge_agent.clock import NS_PER_S, ClockQuality
from edge_agent.config.load import parse_config
from edge_agent.features import Features
from edge_agent.pipeline.settings import MAX_OPEN_CELLS
from edge_agent.reading import Flag, Lane, Record, RecordKind, status_of
from edge_agent.wire.batch import Batch, Column, Group
from edge_agent.wire.encode import encode_batch, encode_message
from edge_agent.wire.formats.registry import find_format, known_formats
from tests.wire.samples import ENVELOPE

FORMATS = known_formats()


@pytest.mark.parametrize("form", FORMATS)
def test_the_largest_batch_of_the_longest_readings_is_below_a_mebibyte_in_every_format(form: str) -> None:
    known = find_format(form)
    assert known is not None
    rows = (known.max_cells or MAX_OPEN_CELLS) // 4
    stamps = tuple(row * NS_PER_S // 10 for row in range(rows))
    features = Features(rows, *[1 / 3] * 5)
    columns = [
        Column(name, [101_325.27] * rows, [99_999.33] * rows, [status_of(Flag.OUTLIER)] * rows, features)
        for name in ("temperature_c", "humidity_pct", "pressure_pa", "illuminance_lx")
    ]
    body = encode_batch(Batch((Group("greenhouse-3", stamps, tuple(columns)),)))
    record = Record(1, 3, 42, RecordKind.BATCH, 2, 0, ClockQuality.SYNCED, 4 * rows, body)
    dialect = dialect_of(
        parse_config(f'[gateway]\nid = "g"\n[uplink]\nformat = "{form}"\n'),
        encode=lambda record: encode_message(record.kind, ENVELOPE, record.body),
        status=lambda state, _most_bytes: state.encode(),
        wall_ns=lambda: 0,
    )
    assert len(dialect.publication(Lane.BACKLOG, record).payload) < 1 << 20


def test_a_gateway_loads_no_library_of_a_format_that_it_does_not_speak() -> None:
    code = "import sys, edge_agent.agent.agent; print([name for name in sys.modules if name.startswith('google')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
