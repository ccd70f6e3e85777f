"""Features and sigmas of a column, which may be sent with its numbers. Pure.

One byte stands before both. Features that the receiver can compute from the column itself are not sent.
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
from edge_agent.wire.integer_features import are_safe, features_of

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
"""Ways to send features. The first senders had 0 and 1 only, for the first six features."""
WAY_BITS: Final = 7
HAS_SIGMAS: Final = 8

FEATURES: Final = struct.Struct("<I5f")
ALL_FEATURES: Final = struct.Struct("<I11f")
_FIRST: Final = attrgetter("count", "mean", "std", "minimum", "maximum", "slope_per_s")
_ALL: Final = attrgetter(*[feature.name for feature in fields(Features)])

QUALITY_BITS: Final = 3
_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
_MOST: Final = 1e140
_UINT32_MAX: Final = 0xFFFF_FFFF

SIGMA_STEPS: Final = 16
"""Codes per octave."""
SIGMA_ONE: Final = 640
"""Code of a sigma of 1."""
MOST_SIGMA: Final = 1280
_THREE_DIGITS: Final = Context(prec=3, rounding=ROUND_HALF_UP)
SIGMAS: Final = (
    None,
    *[
        float(_THREE_DIGITS.create_decimal_from_float(2.0 ** ((code - SIGMA_ONE) / SIGMA_STEPS)))
        for code in range(1, MOST_SIGMA + 1)
    ],
)
"""Sigma of each code: none, then 2**-39.9 to 2**40, rounded to three digits."""


class UsedReadings(NamedTuple):
    """The readings of a column that its features are computed from.

    Attributes:
        scale: decimals of the numbers, see `scale_floats`.
        integers: (n,) the numbers, scaled.
        times_ns: (n,) their stamps.
        share_good: good readings of all that were sampled, 0..1.
        is_whole: whether every cell of the column is good.
    """

    scale: int
    integers: Ints
    times_ns: Ints
    share_good: float = 1.0
    is_whole: bool = True


def used_readings(scale: int, integers: Ints, times_ns: Ints, present: Bools, statuses: Sequence[int]) -> UsedReadings:
    """Select the readings that features are computed from: those that have a number and are not bad.

    Args:
        scale: decimals of the numbers.
        integers: (p,) the numbers of the rows that have one, scaled.
        times_ns: (n,) stamp of each row.
        present: (n,) which rows have a number.
        statuses: n, see `reading.status_of`.
    """
    judged = np.array(statuses, dtype=np.int64)
    counts = present & (judged & QUALITY_BITS != Quality.BAD)
    good = present & (judged & QUALITY_BITS == Quality.GOOD)
    share_good = int(good.sum()) / max(int((judged != NOT_SENT).sum()), 1)
    return UsedReadings(scale, integers[counts[present]], times_ns[counts], share_good, is_whole=False)


def computable(used: Sequence[UsedReadings | None]) -> list[bool]:
    """Tell of which columns the receiver can compute the features; None stands for a column without features."""
    can = [False] * len(used)
    for places, numbers, times_ns in _by_length(used):
        for place, safe in zip(places, are_safe(numbers, times_ns), strict=True):
            can[place] = safe
    return can


def compute(used: Sequence[UsedReadings], *, in_full: bool) -> list[Features]:
    """Compute the features that were not sent.

    Args:
        used: readings of each column.
        in_full: whether to compute all features, or the first six only.

    Raises:
        WireError: the numbers are too large, or there are none.
    """
    computed: list[Features | None] = [None] * len(used)
    for places, numbers, times_ns in _by_length(used):
        shares = [used[place].share_good for place in places] if in_full else None
        found = features_of(numbers, [used[place].scale for place in places], times_ns, shares)
        for place, features in zip(places, found, strict=True):
            computed[place] = features
    known = [features for features in computed if features is not None]
    if len(known) < len(used):
        raise WireError("features are left to be computed from numbers that are too large, or from none")
    return known


def _by_length(used: Sequence[UsedReadings | None]) -> Iterator[tuple[list[int], Ints, Ints]]:
    """Group columns of equal length.

    Yields:
        Their places, (C, n) scaled numbers, and (C, n) stamps or, if all columns have the same, (1, n).
    """
    alike: dict[int, list[tuple[int, UsedReadings]]] = {}
    for place, readings in enumerate(used):
        if readings is not None and readings.scale != NOT_DECIMAL and len(readings.integers):
            alike.setdefault(len(readings.integers), []).append((place, readings))
    for length, together in alike.items():
        numbers = np.concatenate([readings.integers for _, readings in together]).reshape(-1, length)
        stamps = [readings.times_ns for _, readings in together]
        shared = all(times_ns is stamps[0] for times_ns in stamps)
        times_ns = np.concatenate(stamps[:1] if shared else stamps).reshape(-1, length)
        yield [place for place, _ in together], numbers, times_ns


def encode_features(features: Features | None, used: UsedReadings, *, computable: bool) -> tuple[int, bytes]:
    """Write the features of a column, unless the receiver can compute the same.

    Args:
        features: what to send. None: those of the readings.
        used: readings of the column.
        computable: whether the receiver can compute features from them.

    Returns:
        How they are sent, and the bytes to send.
    """
    if features is None:
        if computable:
            return COMPUTED_IN_FULL, b""
        features = _described(used)
        return (NO_FEATURES, b"") if features is None else (GIVEN_IN_FULL, _packed(features))
    in_full, packed = features.is_full, _packed(features)
    if computable and (in_full or used.is_whole):
        (same,) = compute([used], in_full=in_full)
        if _packed(same) == packed:
            return (COMPUTED_IN_FULL if in_full else COMPUTED), b""
    return (GIVEN_IN_FULL if in_full else GIVEN), packed


def decode_features(way: int, cursor: Cursor) -> Features | None:
    """Read features that were sent; None if `way` says that none were."""
    if way == GIVEN:
        return Features(*FEATURES.unpack(cursor.take(FEATURES.size)))
    if way == GIVEN_IN_FULL:
        return Features(*ALL_FEATURES.unpack(cursor.take(ALL_FEATURES.size)))
    return None


def _described(used: UsedReadings) -> Features | None:
    """Compute in floats what the receiver cannot compute; readings whose squares overflow are left out."""
    (numbers,) = unscale([used.integers], [used.scale])
    kept = [pair for pair in zip(used.times_ns.tolist(), numbers, strict=True) if -_MOST < pair[1] < _MOST]
    if not kept:
        return None
    return describe([now_ns for now_ns, _ in kept], [number for _, number in kept], used.share_good)


def _packed(features: Features) -> bytes:
    count, *numbers = _ALL(features) if features.is_full else _FIRST(features)
    kept = [max(-_FLOAT32_MAX, min(number, _FLOAT32_MAX)) for number in numbers]
    return (ALL_FEATURES if features.is_full else FEATURES).pack(min(int(count), _UINT32_MAX), *kept)


def sigma_codes(sigmas: Sequence[float | None], statuses: Sequence[int]) -> list[int]:
    """Turn standard deviations into steps of a sixteenth of an octave, one per row.

    Args:
        sigmas: one per row; None, and any number that is not positive and finite, means none.
        statuses: one per row. The sigma of an absent cell is not sent: the code before is repeated, which costs least.

    Raises:
        WireError: there are not as many sigmas as statuses.
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
    """Turn codes back into standard deviations; an absent cell has none.

    Raises:
        WireError: a code is outside of 0..1280.
    """
    if not 0 <= int(codes.min()) <= int(codes.max()) <= MOST_SIGMA:
        raise WireError("a sigma is out of range")
    return tuple(
        [SIGMAS[code] if status != NOT_SENT else None for code, status in zip(codes.tolist(), statuses, strict=True)]
    )
