"""Names of sensors and quantities in a message. Pure."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from edge_agent.errors import WireError
from edge_agent.wire.fields import COUNT, array, integer, text
from edge_agent.wire.limits import MAX_COLUMNS, MAX_TEXT_BYTES, QUANTITY_BITS, QUANTITY_CODES

_CODE_OF: Final = {quantity: code for code, quantity in enumerate(QUANTITY_CODES)}


@lru_cache(maxsize=256)
def pack_quantities(names: tuple[str, ...]) -> int | list[int | str]:
    """Encode quantities: as bits of one integer if all have codes that ascend, else as a list of codes and names.

    Raises:
        WireError: a name is longer than the format allows.
    """
    codes = [_CODE_OF.get(name) for name in names]
    known = [code for code in codes if code is not None and code < QUANTITY_BITS]
    if len(known) == len(codes) and all(low < high for low, high in pairwise(known)):
        return sum(1 << code for code in known)
    return [checked_text(name, "a quantity") if code is None else code for code, name in zip(codes, names, strict=True)]


def unpack_quantities(field: Any) -> list[str]:
    """Read what `pack_quantities` wrote.

    Raises:
        WireError: it is something else.
    """
    if type(field) is int:
        bits = integer(field, COUNT, "quantities")
        codes: list[Any] = [code for code in range(bits.bit_length()) if bits >> code & 1]
    else:
        codes = array(field, 0, "quantities", exact=False)
    if len(codes) > MAX_COLUMNS:
        raise WireError(f"a group has {len(codes)} columns, more than {MAX_COLUMNS}")
    return [_quantity(code) for code in codes]


def _quantity(field: Any) -> str:
    if type(field) is not int:
        return text(field, "quantity")
    code = integer(field, COUNT, "quantity")
    # A newer sender may have more codes; such a quantity is read under a made-up name.
    return QUANTITY_CODES[code] if code < len(QUANTITY_CODES) else f"quantity_{code}"


def checked_text(name: str, what: str) -> str:
    """Make a text that msgpack accepts, and check its length.

    Args:
        name: the text.
        what: how to call it in the error, e.g. `a sensor id`.

    Raises:
        WireError: it is longer than the format allows.
    """
    encoded = name.encode(errors="replace")  # msgpack would refuse half a surrogate pair
    if len(encoded) > MAX_TEXT_BYTES:
        raise WireError(f"{what} has at most {MAX_TEXT_BYTES} bytes: {name[:40]}…")
    return encoded.decode()
