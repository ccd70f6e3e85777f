"""Which pressure chip answers at 0x76 or 0x77, for the sentence that a driver says when it is not its own.

Sources: the identity registers in the datasheets of the chips named here. They lie at different places: on another
chip the same number is a measured value, so the surest place is asked first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edge_agent.errors import WrongChip

if TYPE_CHECKING:
    from edge_agent.drivers.registers import Registers

IDENTITIES: Final[dict[int, dict[int, tuple[str, str | None]]]] = {
    0xD0: {
        0x55: ("BMP180", None),
        0x56: ("BMP280", "bmp280"),
        0x57: ("BMP280", "bmp280"),
        0x58: ("BMP280", "bmp280"),
        0x60: ("BME280", "bme280"),
        0x61: ("BME680 or BME688", "bme680"),
    },
    0x00: {0x50: ("BMP388", "bmp388"), 0x60: ("BMP390", "bmp390")},
    0x0D: {0x10: ("DPS310 or DPS368", "dps310")},
}
"""Register → what it holds → chip, and the driver that reads it if there is one."""


def wrong_chip(registers: Registers, wanted: str, *, found: int | None = None) -> WrongChip:
    """The error to raise when it is not the chip `wanted`: names what answers, and the way out.

    Args:
        registers: of whatever answers; up to three of them are read.
        wanted: the chip that was looked for.
        found: what register 0xD0 holds, if it has been read already.
    """
    where = f"{registers.address:#04x}"
    held: list[int] = []
    for register, chips in IDENTITIES.items():
        identity = found if register == 0xD0 and found is not None else registers.read(register)[0]
        held.append(identity)
        if identity in chips:
            name, driver = chips[identity]
            cure = f'set driver = "{driver}"' if driver else "there is no driver for it"
            return WrongChip(f"{where} is a {name} (id {identity:#04x}), not a {wanted}: {cure}")
    if set(held) <= {0x00, 0xFF}:
        return WrongChip(
            f"{where} is not a {wanted} and shows no identity: a chip without one (MS5611 and its relatives), "
            "a multiplexer, or a wire held fast; `edge-agent scan` tells"
        )
    return WrongChip(
        f"{where} has the unknown chip id {held[0]:#04x}, so it is not a {wanted}: `edge-agent scan` may name it"
    )
