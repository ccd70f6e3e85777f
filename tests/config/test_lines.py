from __future__ import annotations

import tomllib

import pytest

from edge_agent.config.lines import Path, line_of

TEXT = '''\
top = 1   # [not.a.header]
note = """
[gateway]
id = "no" """
also = \'\'\'
[[sensor]]
\'\'\'   # """ no string begins here
tricky = "a \\" # [x] \'\'\'"
literal = 'C:\\'

[gateway]
id = "g"  # it's one
nested = [
  [
    1
  ],
  ["]", "[gateway]", 'id = 1'],  # ]
]
after = 2
inline = { a = 1, b = { c = 2 } }
dotted.key = 3
"quoted key" = 4

[[ sensor ]]
id = "a"
[sensor.temperature_c]
offset = 1
[[sensor]]
  id = "b"
  [ sensor . "temperature_c" ]
  offset = 2
[bus.i2c1]
device = "/dev/\u2028"
kind = "i2c"
quotes = """a"""""
last = 1
'''


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (("top",), "top ="),
        (("also",), "also ="),
        (("literal",), "literal ="),
        (("gateway",), '[gateway]\nid = "g"'),
        (("gateway", "id"), 'id = "g"'),
        (("gateway", "nested"), "nested ="),
        (("gateway", "nested", 1), "nested ="),
        (("gateway", "after"), "after ="),
        (("gateway", "inline", "b", "c"), "inline ="),
        (("gateway", "dotted", "key"), "dotted.key"),
        (("gateway", "quoted key"), '"quoted key"'),
        (("sensor", 0), "[[ sensor ]]"),
        (("sensor", 0, "temperature_c", "offset"), "offset = 1"),
        (("sensor", 1), "[[sensor]]\n  id"),
        (("sensor", 1, "temperature_c"), "[ sensor ."),
        (("sensor", 1, "temperature_c", "offset"), "offset = 2"),
        (("sensor", 1, "temperature_c", "nowhere"), "[ sensor ."),
        (("sensor", 7), "[[ sensor ]]"),
        (("sensor",), "[[ sensor ]]"),
        (("bus", "i2c1", "kind"), 'kind = "i2c"'),
        (("bus", "i2c1", "last"), "last ="),
        (("nowhere",), "top ="),
        ((), "top ="),
    ],
)
def test_a_key_is_found_in_its_line(path: Path, key: str) -> None:
    assert line_of(TEXT, path) == TEXT.count("\n", 0, TEXT.index(key)) + 1


def test_the_text_is_valid() -> None:
    assert tomllib.loads(TEXT)["gateway"]["nested"] == [[1], ["]", "[gateway]", "id = 1"]]


def test_text_without_a_line_end_has_one_line() -> None:
    assert line_of("a = 1", ("a",)) == 1
