"""Version, caps and codes of the format, the same for sender and receiver. Pure."""

from __future__ import annotations

from typing import Final

VERSION: Final = 2
MAX_MESSAGE_BYTES: Final = 1 << 20
MAX_GROUPS: Final = 1024
MAX_COLUMNS: Final = 64
MAX_ROWS: Final = 65_536
MAX_CELLS: Final = 1 << 20
MAX_TEXT_BYTES: Final = 256
MAX_ANNOUNCEMENT_BYTES: Final = 1 << 15
MAX_ANNOUNCED_CHANNELS: Final = 4096

QUANTITY_CODES: Final = ("temperature_c", "humidity_pct", "pressure_pa", "co2_ppm", "illuminance_lx")
"""Quantities that are sent as their place in this list; others are sent as text. New ones are appended only."""

QUANTITY_BITS: Final = 63
"""Codes below this can be sent as bits of one integer."""
KIND_BITS: Final = 2
"""Bits for the kind in the first element of the outer array; the time quality is in the bits above."""

CRC_BYTES: Final = 4
ENVELOPE_FIELDS: Final = 6
"""Elements of the outer array before the body."""
