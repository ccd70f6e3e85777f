"""What other formats need for the same readings, and what the best codes of simple models would need.

Lengths that no encoder here writes (Rice, adaptive, Gorilla) are computed in bits and rounded up to bytes; the others
are bytes of real output.
"""

from __future__ import annotations

import json
import math
import struct
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import msgpack
import numpy as np
from pcodec import ChunkConfig, standalone

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

COLUMN_HEADER_BYTES: Final = 2
"""Of a Rice column: scale, order and width."""
BATCH_HEADER_BYTES: Final = 4
"""Of a batch in the adaptive model."""
_MOST_DECIMALS: Final = 9
_SCALES: Final = 2.0 ** (np.arange(-6, 50) / 2)
_DECAY: Final = np.exp(-1 / _SCALES)
_LOG_DECAY: Final = -1 / _SCALES
_LOG_PEAK: Final = np.log((1 - _DECAY) / (1 + _DECAY))
_FORGET: Final = math.exp(-12)
_GORILLA_STEPS: Final = ((64, 9), (256, 12), (2048, 16))


class Part(NamedTuple):
    """Rows of one node: its stamps in the unit of the series, and its fields.

    Attributes:
        node: id.
        times: (n,).
        fields: (n,) each, by name.
        integers: the same in decimals; None where the field is not decimal in the whole series.
    """

    node: str
    times: Ints
    fields: dict[str, Floats]
    integers: dict[str, Ints | None]


def decimals(values: Floats) -> int | None:
    """The least number of decimals that is exact for all; None: more than 9."""
    for scale in range(_MOST_DECIMALS + 1):
        if (np.rint(values * 10.0**scale) / 10.0**scale == values).all():
            return scale
    return None


def _zigzag(values: Ints) -> Ints:
    return np.where(values < 0, -2 * values - 1, 2 * values)


def _varint_bytes(value: int) -> int:
    return max(1, (2 * abs(value)).bit_length() + 6) // 7


def _residuals(values: Ints) -> Iterable[tuple[int, Ints]]:
    """Bytes of start values, and residuals, per order of difference."""
    start = _varint_bytes(int(values[0]))
    if len(values) > 1:
        yield start, np.diff(values)
    if len(values) > 2:
        yield start + _varint_bytes(int(values[1] - values[0])), np.diff(values, 2)


def rice_bytes(values: Ints) -> int:
    """Rice code of the best of frame of reference, first and second difference."""

    def bits(folded: Ints) -> int:
        return min(int((folded >> width).sum()) + len(folded) * (width + 1) for width in range(48))

    costs = [8 * _varint_bytes(int(values.min())) + bits(values - values.min())]
    costs += [8 * start + bits(_zigzag(rest)) for start, rest in _residuals(values)]
    return COLUMN_HEADER_BYTES + math.ceil(min(costs) / 8)


def adaptive_bits(values: Ints, past: Ints | None = None) -> float:
    """Ideal length by a mixture of two-sided geometric distributions that learns as it goes (-log2 p, no look-ahead).

    Args:
        values: of one column.
        past: those before, which both sides have learnt from; None: there are none, and start values count.

    Returns:
        Bits by the best of the column itself, its first and its second difference.
    """
    if past is not None:
        whole = np.concatenate((past, values))
        count = len(values)
        tried = [np.diff(whole, order) for order in (1, 2) if len(whole) > count + order]
        if tried:
            return min(_mixture(rest[-count:], _mixture(rest[:-count], None)[1])[0] for rest in tried)
    orders = [(8 * start, rest) for start, rest in (*_residuals(values), (0, values - int(np.median(values))))]
    return min(start + _mixture(rest, None)[0] for start, rest in orders)


def _mixture(rest: Ints, weights: Floats | None) -> tuple[float, Floats]:
    weights = np.full(len(_SCALES), 1.0 / len(_SCALES)) if weights is None else weights
    bits = 0.0
    for size in np.abs(rest).tolist():
        joint = weights * np.exp(np.maximum(_LOG_PEAK + size * _LOG_DECAY, -700.0))
        total = float(joint.sum())
        bits -= math.log2(total)
        weights = joint / total + _FORGET
        weights /= weights.sum()
    return bits, weights


def gorilla_bits(values: Floats) -> int:
    """XOR code of doubles, after Pelkonen et al., VLDB 2015, section 4.1.2."""
    words = values.view(np.uint64).tolist()
    bits, leading, trailing = 64, -1, 0
    for before, now in pairwise(words):
        different = before ^ now
        if not different:
            bits += 1
            continue
        lead = min(31, 64 - different.bit_length())
        trail = (different & -different).bit_length() - 1
        if leading >= 0 and lead >= leading and trail >= trailing:
            bits += 2 + 64 - leading - trailing
        else:
            leading, trailing = lead, trail
            bits += 2 + 5 + 6 + 64 - lead - trail
    return bits


def gorilla_time_bits(times: Ints) -> int:
    """Delta-of-delta code of stamps, section 4.1.1 of the same."""
    bits = 64 + 14
    for change in np.abs(np.diff(times, 2)).tolist():
        bits += 1 if not change else next((cost for limit, cost in _GORILLA_STEPS if change < limit), 36)
    return bits


def others(parts: list[Part]) -> dict[str, int]:
    """Bytes for the rows of `parts`, by format."""
    rows = [
        {"t": int(time), "node": part.node, **{name: float(values[row]) for name, values in part.fields.items()}}
        for part in parts
        for row, time in enumerate(part.times)
    ]
    text = json.dumps(rows).encode()
    lines = "\n".join(
        f"r,n={row['node']} {','.join(f'{name}={row[name]}' for name in parts[0].fields)} {row['t']}" for row in rows
    )
    columns = [(part.fields[name], part.integers[name]) for part in parts for name in part.fields]
    times = [part.times for part in parts]
    config = ChunkConfig()
    pco_times = sum(len(standalone.simple_compress(each, config)) for each in times)
    pco_floats = sum(len(standalone.simple_compress(values, config)) for values, _ in columns)
    pco_integers = sum(
        len(standalone.simple_compress(values if integers is None else integers, config))
        for values, integers in columns
    )
    return {
        "json": len(text),
        "json+zlib": len(zlib.compress(text, 6)),
        "line+zlib": len(zlib.compress(lines.encode(), 6)),
        "msgpack+zlib": len(zlib.compress(msgpack.packb(rows), 6)),
        "gorilla": sum(math.ceil(gorilla_bits(values) / 8) for values, _ in columns)
        + sum(math.ceil(gorilla_time_bits(each) / 8) for each in times),
        "pcodec": pco_times + pco_floats,
        "pcodec int": pco_times + pco_integers,
    }


def ideals(parts: list[Part], earlier: list[Part]) -> dict[str, float]:
    """Bytes of one batch: `rice`, `adaptive` (both from nothing), and `primed` by the batch before.

    A field that is not decimal counts as its Gorilla code.
    """
    rice, reset, primed = 0.0, 8.0 * BATCH_HEADER_BYTES, 0.0
    known = {part.node: part for part in earlier}
    for part in parts:
        for name, integers in {"": part.times, **part.integers}.items():
            if integers is None:
                bits = gorilla_bits(part.fields[name])
                rice, reset, primed = rice + bits / 8, reset + bits, primed + bits
                continue
            rice += rice_bytes(integers)
            own = adaptive_bits(integers)
            reset += own
            before = known.get(part.node)
            past = None if before is None else before.times if not name else before.integers[name]
            primed += adaptive_bits(integers, past)
    return {"rice": rice, "adaptive": reset / 8, "primed": primed / 8}


def doubles(values: list[float]) -> bytes:
    """Bits, to compare."""
    return struct.pack(f"<{len(values)}d", *values)
