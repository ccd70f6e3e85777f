"""Writes codes as bits and reads them back: low parts of fixed width, then quotients in unary. Pure.

A stream of codes is two bit strings without a gap between them: the low parts of all codes, then the quotients of all
codes that have one. The codes of all columns are written in the same few numpy calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from edge_agent.errors import Truncated, WireError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Places = NDArray[np.intp]
    Words = NDArray[np.uint64]

UNARY_BITS_PER_CODE: Final = 4
"""Limit of the unary part: bits per code that has a quotient, over the whole stream."""
_WORD: Final = 8
_WORD_BITS: Final = 64
_WORD_SHIFT: Final = 6


class Run(NamedTuple):
    """Successive codes of one width.

    Attributes:
        codes: number of codes.
        width: bits of each low part, 0..64.
        unary: whether each code has a quotient too; then width is at most 63.
    """

    codes: int
    width: int
    unary: bool


def write_codes(runs: Sequence[Run], words: Sequence[Words]) -> bytes:
    """Write the words of each run, padded with zeros to a whole byte. Without `unary` a word must fit its width."""
    if not runs:
        return b""
    counts = np.array([run.codes for run in runs], dtype=np.intp)
    widths = np.array([run.width for run in runs], dtype=np.int64)
    unary = np.array([run.unary for run in runs], dtype=np.bool_)
    flat = np.concatenate(words)
    wide = np.repeat(widths, counts)
    low, low_total = _write_low_parts(flat, wide)
    if not unary.all():
        if not unary.any():
            return low
        rice = np.repeat(unary, counts)
        flat, wide = flat[rice], wide[rice]
    ends = np.cumsum((flat >> wide.view(np.uint64)).view(np.int64) + 1)
    if not len(ends):
        return low
    # Quotients begin in the byte in which the low parts end.
    shared = low_total % 8
    bits = np.zeros(shared + int(ends[-1]), dtype=np.uint8)
    bits[shared - 1 + ends] = 1
    octets = np.packbits(bits).tobytes()
    return low[:-1] + bytes((low[-1] | octets[0],)) + octets[1:] if shared else low + octets


def _write_low_parts(flat: Words, wide: Ints) -> tuple[bytes, int]:
    """Write the `wide` low bits of each word.

    Returns:
        The bits, padded with zeros to a whole byte, and their number.
    """
    ends = np.cumsum(wide)
    total = int(ends[-1]) if len(ends) else 0
    if not total:
        return b"", 0
    starts = ends - wide
    # Each code is moved to the left end of 64 bits, then to its place within them. numpy gives 0 for a shift by 64.
    left = flat << (_WORD_BITS - wide).view(np.uint64)
    place = starts >> _WORD_SHIFT
    within = (starts & _WORD_BITS - 1).view(np.uint64)
    begins = np.ones(len(place), dtype=np.bool_)
    np.not_equal(place[1:], place[:-1], out=begins[1:])
    (firsts,) = np.nonzero(begins)
    octets = np.zeros(int(place[-1]) + 2, dtype=np.uint64)
    octets[place[firsts]] = np.bitwise_or.reduceat(left >> within, firsts)
    # Only the last code of a word may reach the end of it, so no place occurs twice.
    (reaching,) = np.nonzero(ends >> _WORD_SHIFT > place)
    octets[place[reaching] + 1] |= left[reaching] << (np.uint64(_WORD_BITS) - within[reaching])
    return octets.astype(">u8").tobytes()[: (total + 7) // 8], total


def read_codes(data: bytes, runs: Sequence[Run]) -> list[Words]:
    """Read the words of each run; together they take all of `data`.

    Raises:
        Truncated: `data` ends too early.
        WireError: bytes follow, or the quotients are too large.
    """
    counts = np.array([run.codes for run in runs], dtype=np.intp)
    widths = np.array([run.width for run in runs], dtype=np.int64)
    unary = np.array([run.unary for run in runs], dtype=np.bool_)
    low_total = sum(run.codes * run.width for run in runs)
    if (low_total + 7) // 8 > len(data):
        raise Truncated("column data end before their codes do")
    some = widths > 0  # codes of width 0 take no bytes, so a small message can announce very many: skip them
    if some.all():
        words = _low_parts(data, np.repeat(widths, counts))
    else:
        words = np.zeros(int(counts.sum()), dtype=np.uint64)
        words[np.repeat(some, counts)] = _low_parts(data, np.repeat(widths[some], counts[some]))
    end = low_total
    codes = sum(run.codes for run in runs if run.unary)
    if codes:
        first = low_total // 8
        most = low_total % 8 + UNARY_BITS_PER_CODE * codes
        octets = np.frombuffer(data, dtype=np.uint8)[first : first + (most + 7) // 8]
        bits = np.unpackbits(octets)
        bits[: low_total % 8] = 0
        (ends,) = np.nonzero(bits[:most])
        if len(ends) < codes:
            if len(bits) < most:
                raise Truncated("column data end before their codes do")
            raise WireError("quotients take more bits than the format allows")
        ends = ends[:codes]
        end = 8 * first + int(ends[-1]) + 1
        quotients = ends.astype(np.int64) - 1
        quotients[1:] -= ends[:-1]
        quotients[0] -= low_total % 8 - 1
        shifts = np.repeat(widths[unary], counts[unary]).view(np.uint64)
        if codes == len(words):
            words |= quotients.view(np.uint64) << shifts
        else:
            words[np.repeat(unary, counts)] |= quotients.view(np.uint64) << shifts
    if (end + 7) // 8 != len(data):
        raise WireError(f"{len(data) - (end + 7) // 8} bytes follow the end of the columns")
    bounds = np.cumsum(counts).tolist()
    return [words[stop - run.codes : stop] for run, stop in zip(runs, bounds, strict=True)]


def _low_parts(data: bytes, wide: Ints) -> Words:
    """Read one number of each width, big-endian, one after another."""
    start = np.cumsum(wide) - wide
    octets = np.frombuffer(data + bytes(2 * _WORD - len(data) % _WORD), dtype=">u8").astype(np.uint64)
    place = start >> _WORD_SHIFT
    shift = (start & _WORD_BITS - 1).view(np.uint64)
    words: Words = octets[place] << shift
    # numpy gives 0 for a shift by 64, which is right for a code that begins a word and for a width of 0.
    words |= octets[place + 1] >> (np.uint64(_WORD_BITS) - shift)
    words >>= (_WORD_BITS - wide).view(np.uint64)
    return words
