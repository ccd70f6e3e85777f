"""Break each rule of safety once, and see whether the tests notice: `python tests/campaign/planted.py [--only TEXT]`.

Each mutation is made in a temporary copy. The exit code is 1 if one survives, 2 if one cannot be made.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.campaign.mutation import CHECKS, Mutation  # noqa: E402 run as a script, too
from tests.campaign.mutations import MUTATIONS  # noqa: E402

LONGEST_S: Final = 240
"""Real time after which a check has failed: some mutations make an endless loop."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a mutation: `caught`, `survived` or `impossible`; `said` is the line that shows it."""

    mutation: Mutation
    fate: str
    said: str


def missing(mutation: Mutation) -> str:
    """Why a mutation cannot be made; empty if it can."""
    file = ROOT / "edge_agent" / mutation.file
    found = file.read_text(encoding="utf-8").count(mutation.old) if file.exists() else 0
    return "" if found == 1 else f"its old text stands {found} times in edge_agent/{mutation.file}"


def _nothing(check: str) -> Mutation:
    """A mutation that changes nothing, so that its check must pass."""
    line = "from __future__ import annotations\n"
    return Mutation("nothing", "errors.py", line, line, check)


def judge(mutation: Mutation) -> Judged:
    """Make one mutation, and run its check."""
    problem = missing(mutation)
    if problem:
        return Judged(mutation, "impossible", problem)
    with tempfile.TemporaryDirectory(prefix="planted-") as place:
        copy = Path(place)
        for name in ("edge_agent", "tests"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, copy / name)
        file = copy / "edge_agent" / mutation.file
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        return _run(mutation, copy)


def _run(mutation: Mutation, copy: Path) -> Judged:
    program, *arguments = CHECKS[mutation.check]
    command = [sys.executable, *(["-m", "pytest"] if program == "pytest" else []), *arguments]
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=copy, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Judged(mutation, "caught", "it does not end")
    lines = [line for line in done.stdout.splitlines() if line.startswith(("  at ", "FAILED", "E  "))]
    said = lines[0].strip() if lines else (done.stderr.strip().splitlines() or ["nothing"])[-1]
    return Judged(mutation, "caught" if done.returncode == 1 else "survived", said[:160])


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="mutations with this text in their name or their check")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    given = parser.parse_args()
    chosen = [each for each in MUTATIONS if given.only in each.name or given.only == each.check]
    fates: list[str] = []
    broken = [name for name in sorted({each.check for each in chosen}) if judge(_nothing(name)).fate != "survived"]
    if broken:
        print(f"these checks fail without any mutation: {', '.join(broken)}")
        return 2
    with multiprocessing.Pool(given.jobs) as pool:
        for judged in pool.imap(judge, chosen):
            fates.append(judged.fate)
            print(f"{judged.fate:10}  {judged.mutation.check:9} {judged.mutation.name}: {judged.said}", flush=True)
    print(", ".join(f"{fates.count(fate)} {fate}" for fate in ("caught", "survived", "impossible")))
    return 2 if "impossible" in fates else int("survived" in fates)


if __name__ == "__main__":
    sys.exit(main())
