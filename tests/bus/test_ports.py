from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.bus.ports import console, holder

if TYPE_CHECKING:
    from pathlib import Path


def test_a_port_that_is_the_kernels_console_is_said_how_to_free(tmp_path: Path) -> None:
    consoles = tmp_path / "consoles"
    consoles.write_text("ttyS0                -W- (EC p  )    4:64\ntty1                 -WU (EC p  )    4:1\n")
    serial0 = tmp_path / "serial0"
    serial0.symlink_to("/dev/ttyS0")
    assert "cmdline.txt" in console("/dev/ttyS0", consoles)
    assert "cmdline.txt" in console(str(serial0), consoles)
    assert not console("/dev/ttyUSB0", consoles)
    assert not console("/dev/ttyS0", tmp_path / "none")


def test_nobody_is_named_where_nobody_holds_a_port(tmp_path: Path) -> None:
    free = tmp_path / "free"
    free.touch()
    assert not holder(str(free))
    assert not holder(str(tmp_path / "none"))
