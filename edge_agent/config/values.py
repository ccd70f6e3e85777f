"""One TOML value → a value of the type of its key, or an error that says what was expected. Pure."""

from __future__ import annotations

import dataclasses
import math
import re
import reprlib
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import cattrs

from edge_agent.config import model

_SHOWN_TYPES: Final = {
    int: "a whole number",
    float: "a finite number",
    str: "text in quotes",
    bool: "true or false",
}


def expected(kind: Any) -> str:
    """The name of a type in messages, e.g. `a whole number`."""
    if kind in _SHOWN_TYPES:
        return _SHOWN_TYPES[kind]
    if dataclasses.is_dataclass(kind):
        return f"{{{', '.join(field.name for field in dataclasses.fields(kind))}}}"
    if get_origin(kind) is Annotated:
        inner, limit = get_args(kind)
        return limit.meaning if isinstance(limit, model.Matches) else expected(inner)
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if inner[-1] is ...:
            return f"a list of {expected(inner[0])}"
        return f"[{', '.join(expected(part) for part in inner)}]"
    choices = [choice for choice in get_args(kind) if choice is not type(None)]
    return " or ".join(repr(choice) if isinstance(choice, str | int) else expected(choice) for choice in choices)


def mismatch(error: Exception, kind: Any) -> str:
    """The sentence about a value that is not of this type."""
    found = f", found {_brief(error.args[0])}" if isinstance(error, WrongType) else ""
    return f"expected {expected(kind)}{found}"


def _brief(value: Any) -> str:
    """A value in messages: shortened if it is long."""
    try:
        return reprlib.repr(value)
    except ValueError:  # a number of thousands of digits
        return "a very large number"


class WrongType(TypeError):
    """The value has another type than the key. The argument is the value."""


def _exactly(value: Any, kind: type) -> Any:
    """Accept a value of exactly this type; a float may be written as a whole number, and must be finite."""
    if kind is float and type(value) in {int, float} and math.isfinite(value):
        return float(value)
    if type(value) is kind and kind is not float:
        return value
    raise WrongType(value)


class _BeyondLimits(ValueError):
    """The value has the right type and is outside of its limits; the text says what was expected."""


def _within(value: Any, kind: Any) -> Any:
    """Structure `Annotated[type, Bounds(…) or Matches(…)]`."""
    inner, limit = get_args(kind)
    value = CONVERTER.structure(value, inner)
    match limit:
        case model.Matches(pattern, meaning) if not re.fullmatch(pattern, value):
            raise _BeyondLimits(f"expected {meaning}, found {_brief(value)}")
        case model.Bounds(above=above) if above is not None and not value > above:
            raise _BeyondLimits(f"expected more than {above}, found {_brief(value)}")
        case model.Bounds(at_least=least) if least is not None and value < least:
            raise _BeyondLimits(f"expected at least {least}, found {_brief(value)}")
        case model.Bounds(at_most=most) if most is not None and value > most:
            raise _BeyondLimits(f"expected at most {most}, found {_brief(value)}")
    return value


def _choice(value: Any, kind: Any) -> Any:
    """Structure `Literal[…]`."""
    if any(value == choice and type(value) is type(choice) for choice in get_args(kind)):
        return value
    raise WrongType(value)


def _optional(value: Any, kind: Any) -> Any:
    """Structure `X | None`: TOML has no null, so the value is an X."""
    return CONVERTER.structure(value, get_args(kind)[0])


def _sequence(value: Any, kind: Any) -> Any:
    """Structure `tuple[…]` from a list of exactly the right length."""
    if not isinstance(value, list):
        raise WrongType(value)
    inner = get_args(kind)
    kinds = [inner[0]] * len(value) if inner[-1] is ... else inner
    if len(kinds) != len(value):
        raise WrongType(value)
    return tuple(CONVERTER.structure(part, part_kind) for part, part_kind in zip(value, kinds, strict=True))


def _origin(kind: Any) -> Any:
    return get_origin(kind)


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (int, float, str, bool):
        converter.register_structure_hook(kind, _exactly)
    converter.register_structure_hook_func(lambda kind: type(None) in get_args(kind), _optional)
    converter.register_structure_hook_func(lambda kind: _origin(kind) is Literal, _choice)
    converter.register_structure_hook_func(lambda kind: _origin(kind) is Annotated, _within)
    converter.register_structure_hook_func(lambda kind: _origin(kind) is tuple, _sequence)
    return converter


CONVERTER: Final = _make_converter()
