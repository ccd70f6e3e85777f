from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from edge_agent.outbox.prepare import prepare_outbox
from edge_agent.outbox.recovery import DATABASE
from edge_agent.outbox.schema import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.outbox.outbox import Outbox

USER_VERSION_AT = slice(60, 64)


def test_tables_are_made_in_a_child_and_nothing_for_it_is_loaded_here(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys\n"
        "from edge_agent.outbox.prepare import prepare_outbox\n"
        "prepare_outbox(pathlib.Path(sys.argv[1]))\n"
        "assert 'sqlite_utils' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script, tmp_path], check=True)
    assert (tmp_path / DATABASE).read_bytes()[USER_VERSION_AT] == VERSION.to_bytes(4, "big")


def test_where_there_are_threads_no_process_is_forked_and_opening_makes_the_tables(
    tmp_path: Path, open_outbox: Callable[..., Outbox]
) -> None:
    done = threading.Event()
    other = threading.Thread(target=done.wait)
    other.start()
    prepare_outbox(tmp_path / "state")
    done.set()
    other.join()
    assert not (tmp_path / "state").exists()
    assert open_outbox().tally().committed == 0
