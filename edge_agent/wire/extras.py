"""What may travel with the numbers of a column: features of their window, sigmas. Pure.

Both stand behind one byte. Features that follow from the column itself are left to whoever reads it to compute.
"""

from __future__ import annotations

import struct
from dataclasses import fields
from decimal import ROUND_HALF_UP, Context
from functools import lru_cache
from math import inf, log2
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.errors import WireError
from edge_agent.features import Features, describe
from edge_agent.reading import NOT_SENT, Quality
from edge_agent.wire.floats import NOT_DECIMAL, unscale
from edge_agent.wire.window import are_safe, features_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from edge_agent.wire.cursor import Cursor

    Bools = NDArray[np.bool_]
    Ints = NDArray[np.int64]

COMPUTED: Final = 0
GIVEN: Final = 1
COMPUTED_IN_FULL: Final = 2
GIVEN_IN_FULL: Final = 3
NO_FEATURES: Final = 4
"""Ways in which features travel; 0 and 1 are those of the first senders, which knew six of them."""
WAY_BITS: Final = 7
HAS_SIGMAS: Final = 8

FEATURES: Final = struct.Struct("<I5f")
ALL_FEATURES: Final = struct.Struct("<I11f")
_FIRST: Final = attrgetter("count", "mean", "std", "minimum", "maximum", "slope_per_s")
_ALL: Final = attrgetter(*[each.name for each in fields(Features)])

QUALITY_BITS: Final = 3
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
_MOST: Final = 1e140
_UINT32_MAX: Final = 0xFFFF_FFFF

SIGMA_STEPS: Final = 16
"""Per octave."""
SIGMA_ONE: Final = 640
"""What stands for 1."""
MOST_SIGMA: Final = 1280
_THREE_DIGITS: Final = Context(prec=3, rounding=ROUND_HALF_UP)
SIGMAS: Final = (
    None,
    *[
        float(_THREE_DIGITS.create_decimal_from_float(2.0 ** ((code - SIGMA_ONE) / SIGMA_STEPS)))
        for code in range(1, MOST_SIGMA + 1)
    ],
)
"""By code: 2**-39.9 to 2**40, three digits of each."""


class Window(NamedTuple):
    """The readings of a column that count for its features.

    Attributes:
        scale: decimals of the numbers, see `scale_floats`.
        integers: (n,) those numbers.
        times_ns: (n,) their stamps.
        share_good: of all that were sampled.
        is_whole: whether the column has no cells but good ones.
    """

    scale: int
    integers: Ints
    times_ns: Ints
    share_good: float = 1.0
    is_whole: bool = True


def window_of(scale: int, integers: Ints, times_ns: Ints, present: Bools, statuses: Sequence[int]) -> Window:
    """Choose the readings that count: those with a number that are not bad.

    Args:
        scale: decimals of the numbers.
        integers: those that are present.
        times_ns: one per row, like the others.
        present: which rows have a number.
        statuses: see `reading.status_of`.
    """
    judged = np.array(statuses, dtype=np.int64)
    counts = present & (judged & QUALITY_BITS != Quality.BAD)
    good = present & (judged & QUALITY_BITS == Quality.GOOD)
    share_good = int(good.sum()) / max(int((judged != NOT_SENT).sum()), 1)
    return Window(scale, integers[counts[present]], times_ns[counts], share_good, is_whole=False)


def computable(windows: Sequence[Window | None]) -> list[bool]:
    """Tell which windows whoever reads the column can describe."""
    can = [False] * len(windows)
    for places, numbers, times_ns in _by_length(windows):
        for place, safe in zip(places, are_safe(numbers, times_ns), strict=True):
            can[place] = safe
    return can


def compute(windows: Sequence[Window], *, in_full: bool) -> list[Features]:
    """Compute the features that were left to us.

    Raises:
        WireError: the numbers are too large, or there are none.
    """
    computed: list[Features | None] = [None] * len(windows)
    for places, numbers, times_ns in _by_length(windows):
        shares = [windows[place].share_good for place in places] if in_full else None
        found = features_of(numbers, [windows[place].scale for place in places], times_ns, shares)
        for place, features in zip(places, found, strict=True):
            computed[place] = features
    known = [features for features in computed if features is not None]
    if len(known) < len(windows):
        raise WireError("features are left to be computed from numbers that are too large, or from none")
    return known


def _by_length(windows: Sequence[Window | None]) -> Iterator[tuple[list[int], Ints, Ints]]:
    """Gather windows of equally many decimals: their places, (C, n) numbers, and (C, n) stamps or (1, n) for all."""
    alike: dict[int, list[tuple[int, Window]]] = {}
    for place, window in enumerate(windows):
        if window is not None and window.scale != NOT_DECIMAL and len(window.integers):
            alike.setdefault(len(window.integers), []).append((place, window))
    for length, together in alike.items():
        numbers = np.concatenate([window.integers for _, window in together]).reshape(-1, length)
        stamps = [window.times_ns for _, window in together]
        shared = all(each is stamps[0] for each in stamps)
        times_ns = np.concatenate(stamps[:1] if shared else stamps).reshape(-1, length)
        yield [place for place, _ in together], numbers, times_ns


def encode_features(features: Features | None, window: Window, *, computable: bool) -> tuple[int, bytes]:
    """Write the features of a column, or what is needed of them.

    Args:
        features: None: those of the window.
        window: of the column.
        computable: whether whoever reads it can describe the window.

    Returns:
        The way, and what stands behind it.
    """
    if features is None:
        if computable:
            return COMPUTED_IN_FULL, b""
        features = _described(window)
        return (NO_FEATURES, b"") if features is None else (GIVEN_IN_FULL, _packed(features))
    in_full, packed = features.is_full, _packed(features)
    if computable and (in_full or window.is_whole):
        (same,) = compute([window], in_full=in_full)
        if _packed(same) == packed:
            return (COMPUTED_IN_FULL if in_full else COMPUTED), b""
    return (GIVEN_IN_FULL if in_full else GIVEN), packed


def decode_features(way: int, cursor: Cursor) -> Features | None:
    """Take features that are given, or None for any other way."""
    if way == GIVEN:
        return Features(*FEATURES.unpack(cursor.take(FEATURES.size)))
    if way == GIVEN_IN_FULL:
        return Features(*ALL_FEATURES.unpack(cursor.take(ALL_FEATURES.size)))
    return None


def _described(window: Window) -> Features | None:
    """Describe what cannot be left to whoever reads it: in floats, of those whose squares are numbers."""
    (numbers,) = unscale([window.integers], [window.scale])
    used = [pair for pair in zip(window.times_ns.tolist(), numbers, strict=True) if -_MOST < pair[1] < _MOST]
    if not used:
        return None
    return describe([now_ns for now_ns, _ in used], [number for _, number in used], window.share_good)


def _packed(features: Features) -> bytes:
    count, *numbers = _ALL(features) if features.is_full else _FIRST(features)
    kept = [max(-_FLOAT32_MAX, min(number, _FLOAT32_MAX)) for number in numbers]
    return (ALL_FEATURES if features.is_full else FEATURES).pack(min(int(count), _UINT32_MAX), *kept)


def sigma_codes(sigmas: Sequence[float | None], statuses: Sequence[int]) -> list[int]:
    """Turn standard deviations into steps of a sixteenth of an octave, one per row.

    Args:
        sigmas: None, and whatever is not above 0 and finite, stands for none.
        statuses: those of absent cells do not travel, and repeat the code before.

    Raises:
        WireError: there are more or less of the one than of the other.
    """
    if len(sigmas) != len(statuses):
        raise WireError("sigmas have another length than their column")
    codes = []
    before = 0
    for sigma, status in zip(sigmas, statuses, strict=True):
        if status != NOT_SENT:
            before = 0 if sigma is None or not 0.0 < sigma < inf else _code_of(sigma)
        codes.append(before)
    return codes


@lru_cache(maxsize=1024)
def _code_of(sigma: float) -> int:
    return max(1, min(round(SIGMA_STEPS * log2(sigma)) + SIGMA_ONE, MOST_SIGMA))


def sigmas_of(codes: Ints, statuses: Sequence[int]) -> tuple[float | None, ...]:
    """Turn codes back into standard deviations, which absent cells have not.

    Raises:
        WireError: a code is outside of 0..1280.
    """
    if not 0 <= int(codes.min()) <= int(codes.max()) <= MOST_SIGMA:
        raise WireError("a sigma is out of range")
    return tuple(
        [SIGMAS[code] if status != NOT_SENT else None for code, status in zip(codes.tolist(), statuses, strict=True)]
    )
