from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from edge_agent.agent.dialect import dialect_of
from edge_agent.agent.messages import BODIES, record_message
from edge_agent.clock import Anchor, ClockQuality
from edge_agent.config.load import parse_config
from edge_agent.outbox.inspect import NODE
from edge_agent.outbox.outbox import Content, Outbox
from edge_agent.outbox.schema import StoreSettings
from edge_agent.reading import RecordKind
from edge_agent.uplink.dialect import Occasion
from edge_agent.wire.codec import decode_message, decode_stream
from tests.receiver.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BATCHES = 40
READINGS = 9
"""In each batch of the gateway of the tests."""
GATEWAY = Gateway()
HOLD = """
import sys
from edge_agent.outbox.recovery import DATABASE
from edge_agent.outbox.schema import StoreSettings, open_database
from pathlib import Path
db = open_database(Path(sys.argv[1]) / DATABASE, StoreSettings(1 << 20))
print("open", flush=True)
sys.stdin.read()
"""


def opened(directory: Path, boot: str = "boot-a") -> Outbox:
    return Outbox(
        directory,
        StoreSettings(1 << 20),
        boot_id=boot,
        anchor=Anchor(GATEWAY.offset_ns, ClockQuality.SYNCED, 0),
        rng=random.Random(boot),
        encode=BODIES,
    )


def fill(directory: Path, batches: int = BATCHES, boot: str = "boot-a") -> int:
    """Store batches, and return their epoch."""
    outbox = opened(directory, boot)
    outbox.save_state(NODE, b"n")
    for seq in range(1, batches + 1):
        first_ns = 100 * seq * 1_000_000_000
        outbox.add(Content(RecordKind.BATCH, READINGS, first_ns, first_ns + 2_000_000_000, GATEWAY.body(seq)))
        outbox.commit()
    outbox.close()
    return outbox.epoch


def damage(directory: Path, sql: str) -> None:
    with closing(sqlite3.connect(directory / "outbox.db")) as db:
        db.execute(sql)
        db.commit()


def listed(run: Callable[..., tuple[int, str, str]], directory: Path) -> dict[str, object]:
    code, out, _ = run("outbox", "ls", "--json", "--state-dir", str(directory))
    assert code == 0
    parsed: dict[str, object] = json.loads(out)
    return parsed


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_what_waits_is_listed_by_epoch_and_adds_up(tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    first, second = fill(tmp_path), fill(tmp_path, 3, "boot-b")
    found = listed(run, tmp_path)
    assert found["node"] == "n"
    assert found["in_use"] is False
    epochs = found["epochs"]
    assert isinstance(epochs, list)
    assert [(each["epoch"], each["mark"], each["records"]) for each in epochs] == [(first, 40, 40), (second, 3, 3)]
    assert [each["first"] for each in epochs] == ["2026-01-01T00:01:30.000Z"] * 2
    assert epochs[0]["last"] == "2026-01-01T01:06:32.000Z"
    assert found["total"] == {
        "batches": 43,
        "events": 0,
        "tombstones": 0,
        "records": 43,
        "readings": 43 * READINGS,
        "bytes": sum(len(GATEWAY.body(seq)) for seq in [*range(1, 41), 1, 2, 3]),
    }
    _, out, _ = run("outbox", "ls", "--state-dir", str(tmp_path))
    assert "in all: 43 records (43 batches, 0 events, 0 tombstones), 387 readings" in out


def test_export_gives_the_messages_and_deletes_nothing(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    state, target = tmp_path / "state", tmp_path / "records"
    epoch = fill(state)
    outbox = opened(state, "boot-b")  # secured rows of an interrupted batch: there are none
    outbox.close()
    before = files(state)
    assert run("outbox", "export", str(target), "--state-dir", str(state))[0] == 0
    messages = list(decode_stream(target.read_bytes()))
    assert [(item.envelope.node, item.envelope.epoch, item.envelope.seq) for item in messages] == [  # type: ignore[union-attr]
        ("n", epoch, seq) for seq in range(1, BATCHES + 1)
    ]
    code, out, _ = run("decode", str(target))
    assert code == 0
    assert sum('"quantity"' in line and '"kind"' not in line for line in out.splitlines()) == BATCHES * READINGS
    assert run("outbox", "export", "-", "--to", "ndjson", "--state-dir", str(state))[:2] == (0, out)
    assert files(state) == before


def test_a_whole_outbox_passes_and_stays_as_it_is(tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    fill(tmp_path)
    before = files(tmp_path)
    assert run("outbox", "verify", "--state-dir", str(tmp_path)) == (0, "40 records are as they were stored\n", "")
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        ("UPDATE record SET readings = 8 WHERE rowid = 7", "the record in row 7 is damaged"),
        ("UPDATE record SET body = zeroblob(50) WHERE rowid = 9", "the record in row 9 is damaged"),
        ("DELETE FROM record WHERE rowid = 5", "39 records of epoch"),
        ("UPDATE epoch SET mark = 12", "above its mark 12"),
        ("UPDATE state SET body = x'00' WHERE name = 'node'", "the saved state 'node' is damaged"),
    ],
)
def test_what_is_damaged_is_said(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]], sql: str, sentence: str
) -> None:
    fill(tmp_path)
    damage(tmp_path, sql)
    code, out, _ = run("outbox", "verify", "--state-dir", str(tmp_path))
    assert code == 1
    assert sentence in out
    assert len(out.splitlines()) == 1


def test_a_page_of_zeroes_is_found_and_the_rest_is_exported(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    state, target = tmp_path / "state", tmp_path / "records"
    fill(state)
    content = bytearray((state / "outbox.db").read_bytes())
    page = content.index(GATEWAY.body(20)) // 1024
    content[page * 1024 : page * 1024 + 1024] = bytes(1024)
    (state / "outbox.db").write_bytes(content)
    assert run("outbox", "verify", "--state-dir", str(state))[0] == 1
    code, _, err = run("outbox", "export", str(target), "--state-dir", str(state))
    assert code == 1
    assert "cannot be read" in err
    seqs = {item.envelope.seq for item in decode_stream(target.read_bytes())}  # type: ignore[union-attr]
    assert 20 not in seqs
    assert len(seqs) > BATCHES - 12


def test_a_directory_without_an_outbox_is_one_sentence(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    for command in (["ls"], ["verify"], ["export", "-"]):
        code, out, err = run("outbox", *command, "--state-dir", str(tmp_path))
        assert (code, out) == (1, "")
        assert err == f"{tmp_path} holds no outbox; give the directory of one with --state-dir\n"


def test_while_an_agent_holds_it_the_last_commit_is_read_and_the_holder_named(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    fill(tmp_path)
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdin is not None
        assert agent.stdout is not None
        assert agent.stdout.readline() == "open\n"
        found = listed(run, tmp_path)
        assert (found["in_use"], found["process"], found["steady"]) == (True, agent.pid, True)
        code, out, err = run("outbox", "verify", "--state-dir", str(tmp_path))
        assert (code, out) == (0, "40 records are as they were stored\n")
        assert f"process {agent.pid}" in err
        agent.stdin.close()
    assert listed(run, tmp_path)["in_use"] is False


def test_commits_that_are_in_the_journal_only_are_listed_and_checked(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    outbox = opened(tmp_path / "live")
    outbox.add(Content(RecordKind.BATCH, READINGS, 1, 2, GATEWAY.body(1)))
    outbox.commit()
    copy = tmp_path / "copy"
    copy.mkdir()
    for name, content in files(tmp_path / "live").items():
        (copy / name).write_bytes(content)
    outbox.close()
    total = listed(run, copy)["total"]
    assert isinstance(total, dict)
    assert total["batches"] == 1
    assert run("outbox", "verify", "--state-dir", str(copy))[0] == 0
    journal = bytearray((copy / "outbox.db-wal").read_bytes())
    assert len(journal) > 100
    assert run("outbox", "verify", "--state-dir", str(copy))[:2] == (0, "1 records are as they were stored\n")


# Broker, prefix and format


@pytest.mark.parametrize("form", ["batch", "json", "influx", "senml"])
@pytest.mark.parametrize("prefix", ["edge/n", "plant/hall-3"])
def test_records_go_to_another_broker_prefix_or_format_as_they_are(tmp_path: Path, form: str, prefix: str) -> None:
    fill(tmp_path)
    before = opened(tmp_path, "boot-b")
    stored = [(record.epoch, record.seq, record.body) for _, record in before.hand_out(100)]
    before.close()
    config = parse_config(
        f'[gateway]\nid = "n"\n[uplink]\nurl = "mqtts://other.example.org"\nprefix = "{prefix}"\nformat = "{form}"\n'
    )
    dialect = dialect_of(
        config,
        encode=lambda record: record_message(record, "n", 1_000_000),
        status=lambda state, _most_bytes: state.encode(),
        wall_ns=lambda: 0,
    )
    dialect.notices(Occasion.BIRTH, 1 << 20)
    outbox = opened(tmp_path, "boot-c")
    handed = outbox.hand_out(100)
    assert [(record.epoch, record.seq, record.body) for _, record in handed] == stored
    for lane, record in handed:
        publication = dialect.publication(lane, record)
        assert publication.topic.startswith(f"{prefix}/")
        if form == "batch":
            assert decode_message(publication.payload).envelope.seq == record.seq
        outbox.confirm(record)
    outbox.commit()
    assert outbox.tally().pending == 0
    outbox.close()


def test_rebind_names_the_new_place_and_refuses_another_node(
    tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    fill(tmp_path / "state")
    config = tmp_path / "edge-agent.toml"
    base = (
        '[gateway]\nid = "{}"\n[outbox]\ndirectory = "{}/state"\n'
        '[uplink]\nurl = "mqtts://new.example.org"\nprefix = "plant/n"\n'
    )
    config.write_text(base.format("n", tmp_path))
    code, out, _ = run("outbox", "rebind", "--config", str(config))
    assert code == 0
    assert out == "40 records of n go to mqtts://new.example.org, plant/n, as batch; none had to be changed\n"
    config.write_text(base.format("other", tmp_path))
    code, out, err = run("outbox", "rebind", "--config", str(config))
    assert (code, out) == (1, "")
    assert 'set id = "n" until they are delivered' in err
