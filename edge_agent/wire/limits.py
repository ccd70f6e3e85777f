"""What both sides of the format must agree on: version, caps, codes. Pure."""

from __future__ import annotations

from typing import Final

VERSION: Final = 1
MAX_MESSAGE_BYTES: Final = 1 << 20
MAX_GROUPS: Final = 1024
MAX_COLUMNS: Final = 64
MAX_ROWS: Final = 65_536
MAX_CELLS: Final = 1 << 20
MAX_TEXT_BYTES: Final = 256

QUANTITY_CODES: Final = ("temperature_c", "humidity_pct", "pressure_pa", "co2_ppm", "illuminance_lx")
"""Quantities that travel as their place in this list. Appended to, never changed; others travel as text."""

CRC_BYTES: Final = 4
ENVELOPE_FIELDS: Final = 7
"""Elements of the outer array before the body."""
