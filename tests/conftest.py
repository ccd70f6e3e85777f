"""What tests of several folders share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of the shared measurement data, beside the repository or where EDGE_AGENT_SHARED says."""
    named = os.environ.get("EDGE_AGENT_SHARED")
    folder = Path(named) if named else Path(__file__).parents[1].parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}; set EDGE_AGENT_SHARED to where it is")
    return folder
