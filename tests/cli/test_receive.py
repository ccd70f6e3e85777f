"""`edge-agent receive`: what it takes, what it refuses, what it reports."""

from __future__ import annotations

import json
import sqlite3
import struct
import zlib
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.receiver.gateway import Bench, Gateway

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]

G = Gateway()
NEXT = replace(G, epoch=78)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    bench = Bench(tmp_path / "received.db")
    bench.take(G.status((77, 9)), lane="status")
    bench.take(G.batch(1), G.batch(3), G.batch(3), G.tombstone(4, 5, 6, why="outbox full"))
    bench.take(NEXT.status((78, 0)), lane="status")
    bench.take(b"garbage")
    bench.take(b"garbage", prefix="edge/nobody")
    bench.close()
    return bench.path


def test_the_report_for_people_says_what_is_missing_and_why(run: Run, database: Path) -> None:
    code, out, err = run("receive", "--report", "--to", f"sqlite:{database}")
    assert (code, err) == (0, "")
    first, refused, epoch, missing, dropped, present, nobody = out.splitlines()
    assert first == "n  online  edge/n"
    assert refused == "  refused: 1 messages, unknown version or format"
    assert epoch.startswith("  epoch 77: outbox gone up to 1 of 9, 3 records, 18 readings, 1 duplicates, digest ")
    assert missing == "    missing: 2, 7-9"
    assert dropped == "    dropped: 2 records, 18 readings: outbox full"
    assert present.startswith("  epoch 78: complete up to 0 of 0")
    assert nobody == "refused, of no known gateway: 1 messages, unknown version or format"


def test_the_report_as_json_is_stable(run: Run, database: Path) -> None:
    code, out, _err = run("receive", "--report", "--json", "--to", f"sqlite:{database}")
    assert code == 0
    said: dict[str, Any] = json.loads(out)
    (node,) = said.pop("nodes")
    assert said == {"v": 1, "refused": {"unknown version or format": 1}}
    epoch, present = node.pop("epochs")
    assert node == {
        "node": "n",
        "prefix": "edge/n",
        "state": "online",
        "alarm": None,
        "refused": {"unknown version or format": 1},
    }
    digest = epoch.pop("digest")
    assert (digest["rows"], digest["readings"], len(digest["crc_sum"])) == (12, 18, 16)
    assert epoch == {
        "epoch": 77,
        "boot": 5,
        "state": "outbox gone",
        "upto": 1,
        "highest": 6,
        "mark": 9,
        "records": 3,
        "duplicates": 1,
        "missing": [[2, 2], [7, 9]],
        "missing_rows": [],
        "never_came": 2,
        "dropped": [
            {"reason": "outbox full", "tombstones": 1, "records": 2, "readings": 18, "open_ended": False},
        ],
    }
    assert present["state"] == "complete"


def test_the_digest_is_that_of_the_readings_in_the_database(run: Run, database: Path) -> None:
    _code, out, _err = run("receive", "--report", "--json", "--to", f"sqlite:{database}")
    digest = json.loads(out)["nodes"][0]["epochs"][0]["digest"]
    query = "SELECT seq, row, count(*) FROM readings WHERE epoch = 77 GROUP BY seq, row"
    with closing(sqlite3.connect(database)) as db:
        rows = db.execute(query).fetchall()
    crc_sum = sum(zlib.crc32(struct.pack(">QIB", *row)) for row in rows) % (1 << 63)
    assert digest == {"rows": len(rows), "readings": sum(row[2] for row in rows), "crc_sum": f"{crc_sum:016x}"}


def test_what_is_lost_can_be_accepted(run: Run, database: Path) -> None:
    to = ("--to", f"sqlite:{database}")
    assert run("receive", "--accept-lost", *to)[1] == "n, epoch 77: 4 records are accepted as lost\n"
    code, out, _err = run("receive", "--accept-lost", "--report", *to)
    assert code == 0
    assert out.startswith("nothing is missing that cannot be had\n")
    assert "epoch 77: complete up to 9 of 9" in out
    assert "    dropped: 4 records, 0 readings: accepted as lost" in out


def test_an_empty_database_has_a_report(run: Run, tmp_path: Path) -> None:
    Bench(tmp_path / "new.db").close()
    assert run("receive", "--report", "--to", f"sqlite:{tmp_path}/new.db") == (0, "no gateway has been heard yet\n", "")


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--broker", "mqtt://127.0.0.1"], 2, "Missing option '--to'"),
        (["--to", "sqlite:x"], 2, "--broker is missing"),
        (["--to", "sqlite:x", "--json"], 2, "--json needs --report"),
        (["--to", "ndjson:-"], 2, "exactly one sqlite:FILE"),
        (["--to", "sqlite:x", "--to", "sqlite:y"], 2, "exactly one sqlite:FILE"),
        (["--to", "sqlite:"], 2, "expected sqlite:FILE"),
        (["--to", "kafka:x"], 2, "found 'kafka:x'"),
        (["--to", "sqlite:x", "--broker", "http://a"], 2, "expected mqtt://HOST"),
        (["--to", "sqlite:x", "--broker", "mqtt://u:p@a"], 2, "a password never stands"),
        (["--to", "sqlite:x", "--broker", "mqtt://a", "--prefix", "edge/#"], 2, "expected levels such as edge/+"),
        (["--to", "sqlite:x", "--broker", "mqtt://a", "--prefix", "edge//n"], 2, "expected levels such as edge/+"),
        (["--to", "sqlite:x", "--broker", "mqtt://a", "--name", "a/b"], 2, "without +, # and /"),
        (["--to", "sqlite:x", "--broker", "mqtt://a", "--ca-file", "ca.pem"], 2, "certificates mean nothing"),
        (["--to", "sqlite:x", "--broker", "mqtts://a", "--password-file", "p"], 2, "a password is given"),
        (["--to", "sqlite:x", "--report"], 69, "there is no file x"),
        (["--to", "sqlite:x", "--accept-lost"], 69, "there is no file x"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ended, _out, err = run("receive", *arguments)
    assert (ended, sentence in err) == (code, True), err
    assert list(tmp_path.iterdir()) == []


def test_a_password_goes_to_no_other_machine_in_the_clear(run: Run, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret")
    password.chmod(0o600)
    arguments = ("--to", f"sqlite:{tmp_path}/r.db", "--username", "u", "--password-file", str(password))
    code, _out, err = run("receive", *arguments, "--broker", "mqtt://broker.example.org")
    assert code == 2
    assert "anyone on the way can read" in err
    assert "insecure_plaintext" not in err
    password.chmod(0o644)
    code, _out, err = run("receive", *arguments, "--broker", "mqtt://127.0.0.1")
    assert (code, "chmod 600" in err) == (69, True)


def test_the_file_of_another_program_is_left_alone(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE mine (x)")
    before = other.read_bytes()
    for more in (("--report",), ("--accept-lost",), ("--broker", "mqtt://127.0.0.1")):
        code, _out, err = run("receive", "--to", f"sqlite:{other}", *more)
        assert (code, "not the database of a receiver" in err) == (69, True), err
    assert other.read_bytes() == before
    text = tmp_path / "text"
    text.write_text("this is no database, but long enough to look like one" * 100)
    code, _out, err = run("receive", "--to", f"sqlite:{text}", "--report")
    assert (code, "cannot be used" in err) == (69, True), err
    with closing(sqlite3.connect(tmp_path / "newer.db")) as db:
        db.execute("PRAGMA user_version=9")
    code, _out, err = run("receive", "--to", f"sqlite:{tmp_path}/newer.db", "--report")
    assert (code, "upgrade this one" in err) == (69, True), err
