"""A strict reader of SenML packs: resolves them as RFC 8428, section 4.6 says, and refuses what it forbids."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_NAME = re.compile("[A-Za-z0-9][A-Za-z0-9.:/_-]*")
_BASE = {"bn": str, "bt": Decimal, "bu": str, "bv": Decimal, "bs": Decimal, "bver": Decimal}
_FIELDS = {
    "n": str,
    "u": str,
    "v": Decimal,
    "vs": str,
    "vb": bool,
    "vd": str,
    "s": Decimal,
    "t": Decimal,
    "ut": Decimal,
}
_PRIMARY_UNITS = {"Cel", "%RH", "Pa", "lx"}
_SECONDARY_UNITS = {"ppm"}


@dataclass(frozen=True)
class Resolved:
    """One record that stands alone."""

    name: str
    unit: str | None
    t_ns: int
    value: float | str


def read(payload: bytes) -> list[Resolved]:
    """Every record of a pack."""
    pack = json.loads(payload, parse_float=Decimal, parse_int=Decimal)
    assert isinstance(pack, list)
    assert pack
    base: dict[str, Any] = {}
    resolved = []
    for number, record in enumerate(pack):
        for label, value in record.items():
            kind = {**_BASE, **_FIELDS}[label]
            assert isinstance(value, kind), (label, value)
        assert "bver" not in record or number == 0, "the version stands in the first record"
        base.update({label: value for label, value in record.items() if label in _BASE})
        resolved.append(_resolve(base, record))
    assert [each.t_ns for each in resolved] == sorted(each.t_ns for each in resolved)
    return resolved


def _resolve(base: dict[str, Any], record: dict[str, Any]) -> Resolved:
    assert len(record.keys() & {"v", "vs", "vb", "vd"}) == 1, "one value per record"
    name = base.get("bn", "") + record.get("n", "")
    assert _NAME.fullmatch(name), name
    unit = record.get("u", base.get("bu"))
    version = base.get("bver", Decimal(10))
    assert version in {10, 26}
    assert unit is None or unit in _PRIMARY_UNITS or (version == 26 and unit in _SECONDARY_UNITS), unit
    time = base.get("bt", Decimal(0)) + record.get("t", Decimal(0))
    assert time >= 1 << 28, "a relative time"
    number = record.get("v")
    value = record.get("vs", "") if number is None else float(number + base.get("bv", 0))
    return Resolved(name, unit, int(time * 1_000_000_000), value)
