"""The format where pointers have 32 bits, as far as other machines can show it: numpy's own integer is int32 there.

Functions of numpy are imitated, methods of its arrays are not: `flags.sum()` is an int32 there, and an int64 here.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest

from edge_agent.wire import bits, column, extras, floats, integer_features, integers, predict, restore, table
from edge_agent.wire.batch import Batch, Column, Group
from edge_agent.wire.codec import encode_batch
from tests.wire.samples import EVEN, EXTRAS, GOLDEN, MESSAGES, OUTGROWN, PLAIN, encoded, ndjson

if TYPE_CHECKING:
    from collections.abc import Callable

MODULES: Final = (bits, column, extras, floats, integer_features, integers, predict, restore, table)
GIVES_PLACES: Final = {"argsort", "bincount", "nonzero"}
"""Functions whose results, places and counts, have the size of a pointer."""
TAKES_PLACES: Final = {"bincount": 0, "repeat": 1, "reduceat": 1}
"""Functions that refuse int64 where they want such, and the argument that is meant."""


def _narrow(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A function of numpy as it is where pointers have 32 bits."""

    def narrowed(*arguments: Any, **options: Any) -> Any:
        wanted = arguments[TAKES_PLACES[name]] if name in TAKES_PLACES else None
        if isinstance(wanted, np.ndarray) and wanted.dtype == np.int64:
            raise TypeError("Cannot cast array data from dtype('int64') to dtype('int32') according to the rule 'safe'")
        result = function(*arguments, **options)
        if name in GIVES_PLACES:
            return tuple(map(_as_int32, result)) if isinstance(result, tuple) else _as_int32(result)
        chosen = "dtype" in options or "out" in options or any(map(_has_64_bits, arguments))
        return result if chosen or not isinstance(result, np.ndarray) else _as_int32(result)

    return narrowed


def _has_64_bits(argument: Any) -> bool:
    if isinstance(argument, np.ndarray | np.generic):
        return argument.dtype in {np.dtype(np.int64), np.dtype(np.uint64)}
    return isinstance(argument, list | tuple) and any(map(_has_64_bits, argument))


def _as_int32(result: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if result.dtype != np.int64 or (len(result) and np.abs(result).max() > np.iinfo(np.int32).max):
        return result  # numbers that need 64 bits get them there, too
    return result.astype(np.int32)


@pytest.fixture
def with_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules of the format see a numpy whose own integer is int32."""
    numpy = SimpleNamespace(
        **{
            name: _narrow(part, name) if callable(part) and not isinstance(part, type | np.ufunc) else part
            for name, part in vars(np).items()
        }
    )
    numpy.intp = np.int32
    numpy.bitwise_or = SimpleNamespace(reduceat=_narrow(np.bitwise_or.reduceat, "reduceat"))
    for module in MODULES:
        monkeypatch.setattr(module, "np", numpy)


def _noisy() -> Batch:
    """Columns that are sparse, divided, led by their raw values, and no decimals."""
    times = tuple(range(0, 60 * 10**9, 10**9))
    raws = tuple(20 + row * row * 7919 % 97 / 100 for row in range(60))
    shown = tuple(round(20 + (raw - 20) / 8, 2) for raw in raws)
    columns = (
        Column("temperature_c", shown, raws, (0,) * 60, None, describe=True),
        Column("pressure_pa", tuple(1e5 + 512.0 * (row % 29 == 3) for row in range(60)), None, (0,) * 60, None),
        Column("co2_ppm", tuple(raw / 3 for raw in raws), None, (0,) * 60, None),
    )
    return Batch((Group("air", times, columns),))


@pytest.mark.usefixtures("with_32_bits")
def test_batches_have_the_same_bytes_with_32_bits(request: pytest.FixtureRequest) -> None:
    batches = [PLAIN, EXTRAS, EVEN, _noisy()]
    narrow = [encode_batch(batch) for batch in batches]
    request.getfixturevalue("monkeypatch").undo()
    assert narrow == [encode_batch(batch) for batch in batches]


@pytest.mark.usefixtures("with_32_bits")
@pytest.mark.parametrize("name", sorted(MESSAGES.keys() - OUTGROWN))
def test_golden_bytes_decode_to_golden_rows_with_32_bits(name: str) -> None:
    assert ndjson(encoded(name)) == (GOLDEN / f"{name}.ndjson").read_text()
