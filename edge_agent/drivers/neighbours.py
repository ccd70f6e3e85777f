"""Which chip answers where another one was expected, by the identity registers that drivers declare.

Identity registers of different makers lie at different places: on another chip the same number may be a measured
value. So the register that tells most chips apart is asked first.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from edge_agent.drivers.registry import all_drivers
from edge_agent.errors import WrongChip

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.drivers.registers import Registers

WITHOUT_DRIVER: Final[Mapping[int, Mapping[int, str]]] = {
    0xD0: {0x55: "BMP180"},
    0x0F: {0xB4: "LPS28DFW", 0xBB: "LPS331AP"},
}
"""Register → what it holds → chip; from the datasheets of chips that no driver reads."""


def wrong_chip(registers: Registers, wanted: str, *, found: int | None = None) -> WrongChip:
    """The error to raise when it is not the chip `wanted`: names what answers, and the way out.

    Args:
        registers: of whatever answers; the identity registers of all drivers for that address are read.
        wanted: the chip that was looked for.
        found: what register 0xD0 holds, if it has been read already.
    """
    address = registers.address
    held: list[int] = []
    for register in _identity_registers(address):
        identity = found if register == 0xD0 and found is not None else registers.read(register)[0]
        held.append(identity)
        error = named_by(register, identity, address, wanted)
        if error is not None:
            return error
    if set(held) <= {0x00, 0xFF}:
        return WrongChip(
            f"{address:#04x} is not a {wanted} and shows no identity: a chip without one (MS5611 and its relatives), "
            "a multiplexer, or a wire held fast; `edge-agent scan` tells"
        )
    return WrongChip(
        f"{address:#04x} has the unknown chip id {held[0]:#04x}, so it is not a {wanted}: `edge-agent scan` may name it"
    )


def named_by(register: int, identity: int, address: int, wanted: str) -> WrongChip | None:
    """The error to raise if what an identity register holds names a chip; None if it names none."""
    chip, driver = _identity_registers(address).get(register, {}).get(identity, ("", ""))
    chip = chip or WITHOUT_DRIVER.get(register, {}).get(identity, "")
    if not chip:
        return None
    cure = f'set driver = "{driver}"' if driver else "there is no driver for it"
    return WrongChip(f"{address:#04x} is a {chip} (id {identity:#04x}), not a {wanted}: {cure}")


def _identity_registers(address: int) -> dict[int, dict[int, tuple[str, str]]]:
    """Register → what it holds → chip and driver, of all drivers for an address; the most telling register first."""
    registers: defaultdict[int, dict[int, tuple[str, str]]] = defaultdict(dict)
    for info in all_drivers().values():
        if info.identity is not None and address in info.addresses:
            for identity, chip in info.identity.chips.items():
                registers[info.identity.register][identity] = (chip, info.name)
    return dict(sorted(registers.items(), key=lambda item: -len(item[1])))
