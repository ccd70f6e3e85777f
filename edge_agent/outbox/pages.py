"""Reads the tables of an SQLite file without SQLite: page by page, whatever is damaged or read-only.

The layout is that of <https://www.sqlite.org/fileformat2.html>, sections 1.3 (header), 1.6 (b-tree pages and cells),
2.1 (records), 4.1 and 4.2 (journal). Only what the outbox needs: tables with a rowid, no indices, text in UTF-8.
"""

from __future__ import annotations

import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge_agent.outbox.journal import committed_pages

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self

Value = int | float | bytes | str | None

_HEADER_BYTES: Final = 100
_LEAF: Final = 0x0D
_INTERIOR: Final = 0x05
_PAGE_SIZES: Final = tuple(1 << bits for bits in range(9, 17))
_SCHEMA_ROOT: Final = 1
_MOST_LEVELS: Final = 24
"""Deeper trees are not possible: a page has two children at least."""
_PAGES_AT_ONCE: Final = 512
"""Pages read between two chances for the caller to do something else."""
_MAGIC: Final = b"SQLite format 3\0"
_VERSIONS: Final = (b"\1\1", b"\2\2")
"""Versions for writing and reading: without and with a journal of the kind that we use."""
_FIXED: Final = b"\0\x40\x20\x20"
"""Reserved bytes per page, and three fractions that never change."""
_INTEGER_BYTES: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
_MOST_PAYLOAD: Final = 64 * 1_048_576
"""Bytes; a longer row is damage."""


class DamagedPageError(Exception):
    """A page or a cell that does not follow the layout."""


@dataclass(frozen=True, slots=True)
class Found:
    """A row.

    Attributes:
        rowid: its rowid.
        values: its columns in the order of the table; None for the column that is the rowid.
    """

    rowid: int
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """Rows that cannot be read: those with first_rowid <= rowid <= last_rowid, if there were any."""

    first_rowid: int
    last_rowid: int


_FIRST_ROWID: Final = 1
LAST_ROWID: Final = (1 << 63) - 1


def header_problem(path: Path) -> str:
    """What is wrong with those bytes of the header that SQLite does not report as damage; empty if nothing is.

    It takes a file with an unknown version for read-only, and one with a new magic for none of its own.
    """
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError:
        return ""
    if not header:
        return ""
    size = int.from_bytes(header[16:18], "big")
    is_right = header.startswith(_MAGIC) and (size == 1 or size in _PAGE_SIZES) and header[18:20] in _VERSIONS
    return "" if is_right and header[20:24] == _FIXED else "the header of the file is damaged"


class PageFile:
    """An SQLite file and its journal, open for reading.

    Args:
        path: path of the database; its journal has the same name with `-wal` at the end.
        page_bytes: size of a page, if the header of the file does not tell it.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path, page_bytes: int) -> None:
        self._file = path.open("rb")
        header = self._file.read(_HEADER_BYTES)
        told = int.from_bytes(header[16:18], "big")
        told = 65536 if told == 1 else told
        self._page_bytes = told if told in _PAGE_SIZES and header.startswith(_MAGIC) else page_bytes
        self._usable = self._page_bytes  # none of our files reserves a part of it
        self._journal = committed_pages(path.with_name(path.name + "-wal"), self._page_bytes)
        self._free = self._free_pages(header)
        self._leaves: list[tuple[int, int, int]] | None = None
        self._roots: dict[str, int] = {}
        for item in self._walk(_SCHEMA_ROOT, 0, _FIRST_ROWID, LAST_ROWID):
            if isinstance(item, Found) and len(item.values) > 3 and item.values[0] == "table":
                name, root = item.values[1], item.values[3]
                if isinstance(name, str) and isinstance(root, int):
                    self._roots[name] = root

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_reason: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @property
    def tables(self) -> frozenset[str]:
        """Names of the tables that were found."""
        return frozenset(self._roots)

    def rows(self, table: str, columns: int, first_rowid: int = _FIRST_ROWID) -> Iterator[Found | Gap | None]:
        """Rows of a table from `first_rowid` on, in the order of their rowids, and gaps where damage hides some.

        If an inner page is damaged, the leaves below it are found by their content, among all pages of the file. That
        takes long, so None is given from time to time.

        Args:
            table: its name.
            columns: number of its columns, by which its leaves are known.
            first_rowid: rowid to begin with.
        """
        root = self._roots.get(table)
        if root is None:
            yield from self._search(columns, first_rowid, LAST_ROWID)
        else:
            yield from self._walk(root, columns, first_rowid, LAST_ROWID)

    def last_rowid(self, table: str) -> int:
        """Highest rowid of a table that can be read quickly; 0 if it is empty or unknown."""
        number = self._roots.get(table, 0)
        with suppress(DamagedPageError):
            for _ in range(_MOST_LEVELS):
                page = self._page(number)
                kind, count, cells, start = _page_header(page, number)
                if kind == _INTERIOR:
                    number = int.from_bytes(page[start + 8 : start + 12], "big")
                elif count:
                    _, at = _varint(page, cells[-1])
                    return _varint(page, at)[0]
                else:
                    break
        return 0

    # ---- internal

    def _page(self, number: int) -> bytes:
        content = self._journal.get(number)
        if content is None:
            if number < 1:
                raise DamagedPageError(number)
            try:
                self._file.seek((number - 1) * self._page_bytes)
                content = self._file.read(self._page_bytes)
            except OSError as error:  # a sector that the disk cannot read
                raise DamagedPageError(number) from error
        if len(content) != self._page_bytes:
            raise DamagedPageError(number)
        return content

    def _walk(self, root: int, columns: int, first: int, last: int) -> Iterator[Found | Gap | None]:
        """Rows below a page with first <= rowid <= last. An explicit stack, deepest first."""
        stack = [(root, first, last)]
        inner: set[int] = set()
        while stack:
            number, first, last = stack.pop()
            try:
                page = self._page(number)
                kind, count, cells, start = _page_header(page, number)
                if kind == _INTERIOR and (count == 0 or number in inner):
                    raise DamagedPageError(number)  # noqa: TRY301 like any other damage
            except DamagedPageError:
                yield from self._search(columns, first, last)
                continue
            if kind == _INTERIOR:
                inner.add(number)
                stack += reversed(list(_children(page, cells, start, first, last)))
                continue
            rows = list(self._leaf(page, cells, first, last))
            if columns and any(isinstance(row, Gap) for row in rows):
                yield from self._search(columns, first, last)  # perhaps they are on another page
            else:
                yield from rows

    def _search(self, columns: int, first: int, last: int) -> Iterator[Found | Gap | None]:
        """Rows with first <= rowid <= last in leaves with so many columns, wherever they are."""
        following = first
        if columns:
            yield from self._list_leaves()
            for rowid, number, own_columns in self._leaves or ():
                if own_columns == columns and first <= rowid <= last:
                    page = self._page(number)
                    for item in self._leaf(page, _page_header(page, number)[2], following, last):
                        if isinstance(item, Found):
                            if item.rowid > following:
                                yield Gap(following, item.rowid - 1)
                            following = item.rowid + 1
                            yield item
        if following <= last:
            yield Gap(following, last)

    def _list_leaves(self) -> Iterator[None]:
        """Make the list of all leaves that are not free, by the rowid of their first row."""
        if self._leaves is not None:
            return
        leaves: list[tuple[int, int, int]] = []
        size = self._file.seek(0, 2)
        for number in range(1, 1 + max(size // self._page_bytes, *self._journal, 1)):
            if number % _PAGES_AT_ONCE == 0:
                yield None
            with suppress(DamagedPageError):
                page = self._page(number)
                kind, _count, cells, _start = _page_header(page, number)
                if kind == _LEAF and number not in self._free:
                    rows = self._leaf(page, cells, _FIRST_ROWID, LAST_ROWID)
                    first = next((row for row in rows if isinstance(row, Found)), None)
                    if first is not None:
                        leaves.append((first.rowid, number, len(first.values)))
        self._leaves = sorted(leaves)

    def _free_pages(self, header: bytes) -> set[int]:
        """Numbers of the pages that the file does not use (section 1.5); what they hold was deleted."""
        free: set[int] = set()
        header = self._journal.get(_SCHEMA_ROOT, header)
        trunk = int.from_bytes(header[32:36], "big") if header.startswith(_MAGIC) else 0
        with suppress(DamagedPageError):
            while trunk and trunk not in free:
                page = self._page(trunk)
                free.add(trunk)
                count = min(int.from_bytes(page[4:8], "big"), (self._usable - 8) // 4)
                free.update(struct.unpack_from(f">{count}I", page, 8))
                trunk = int.from_bytes(page[:4], "big")
        return free

    def _leaf(self, page: bytes, cells: tuple[int, ...], first: int, last: int) -> Iterator[Found | Gap]:
        """Rows of a leaf; a cell that cannot be read or breaks the order makes a gap up to the next one."""
        begin, is_damaged = first, False
        for at in cells:
            try:
                size, at = _varint(page, at)  # noqa: PLW2901 the cell is read from here on
                rowid, at = _varint(page, at)  # noqa: PLW2901
                if rowid < begin:
                    continue  # not asked for
                if not first <= rowid <= last:
                    raise DamagedPageError(rowid)  # noqa: TRY301 like any other damage
                values = _record(self._payload(page, at, size))
            except DamagedPageError:
                is_damaged = True
                continue
            if is_damaged and rowid > first:
                yield Gap(first, rowid - 1)
            yield Found(rowid, values)
            first, is_damaged = rowid + 1, False
        if is_damaged and first <= last:
            yield Gap(first, last)

    def _payload(self, page: bytes, at: int, size: int) -> bytes:
        """Payload of a cell, with its overflow pages."""
        usable = self._usable
        if size > _MOST_PAYLOAD:
            raise DamagedPageError(size)
        most, least = usable - 35, (usable - 12) * 32 // 255 - 23
        local = size
        if size > most:
            local = least + (size - least) % (usable - 4)
            local = local if local <= most else least
        if at + local > usable:
            raise DamagedPageError(at)
        parts, missing = [page[at : at + local]], size - local
        following = int.from_bytes(page[at + local : at + local + 4], "big")
        while missing > 0:
            page = self._page(following)
            parts.append(page[4 : min(usable, 4 + missing)])
            missing -= len(parts[-1])
            following = int.from_bytes(page[:4], "big")
        return b"".join(parts)


def _page_header(page: bytes, number: int) -> tuple[int, int, tuple[int, ...], int]:
    """Kind, number of cells, their offsets, and the offset of the header of a b-tree page."""
    start = _HEADER_BYTES if number == _SCHEMA_ROOT else 0
    kind, count = page[start], int.from_bytes(page[start + 3 : start + 5], "big")
    pointers = start + (12 if kind == _INTERIOR else 8)
    if kind not in {_LEAF, _INTERIOR} or pointers + 2 * count > len(page):
        raise DamagedPageError(number)
    return kind, count, struct.unpack_from(f">{count}H", page, pointers), start


def _children(page: bytes, cells: tuple[int, ...], start: int, first: int, last: int) -> Iterator[tuple[int, int, int]]:
    """Children of an interior page, each with its first and last rowid, between `first` and `last`."""
    for at in cells:
        try:
            child = int.from_bytes(page[at : at + 4], "big")
            key, _ = _varint(page, at + 4)
        except DamagedPageError:
            continue  # the rows below it join those of the next child, which does not have them
        if key < first:
            continue
        if key >= last:
            yield child, first, last
            return
        yield child, first, key
        first = key + 1
    yield int.from_bytes(page[start + 8 : start + 12], "big"), first, last


def _varint(octets: bytes, at: int) -> tuple[int, int]:
    """An integer of one to nine bytes (section 1.6), as signed 64 bits, and the offset after it."""
    value = 0
    try:
        for _ in range(8):
            octet = octets[at]
            at += 1
            value = value << 7 | octet & 0x7F
            if octet < 0x80:
                return value, at
        value = value << 8 | octets[at]
    except IndexError:
        raise DamagedPageError(at) from None
    return value - (1 << 64) if value >> 63 else value, at + 1


def _record(payload: bytes) -> tuple[Value, ...]:
    """Columns of a row (section 2.1)."""
    end, at = _varint(payload, 0)
    if not at <= end <= len(payload):
        raise DamagedPageError(end)
    values: list[Value] = []
    body = end
    while at < end:
        serial, at = _varint(payload, at)
        value, body = _value(payload, serial, body)
        values.append(value)
    if body != len(payload):
        raise DamagedPageError(body)
    return tuple(values)


def _value(payload: bytes, serial: int, at: int) -> tuple[Value, int]:
    """The value of a serial type at an offset, and the offset after it."""
    if serial in {0, 8, 9}:
        return (None if serial == 0 else serial - 8), at
    is_text = serial >= 13 and serial % 2 == 1
    size = _INTEGER_BYTES.get(serial, 8 if serial == 7 else (serial - 12) // 2 if serial >= 12 else -1)
    octets = payload[at : at + size]
    if size < 0 or len(octets) != size:
        raise DamagedPageError(at)
    if serial in _INTEGER_BYTES:
        return int.from_bytes(octets, "big", signed=True), at + size
    if serial == 7:
        return float(struct.unpack(">d", octets)[0]), at + size
    if not is_text:
        return octets, at + size
    try:
        return octets.decode(), at + size
    except UnicodeDecodeError:
        raise DamagedPageError(at) from None
