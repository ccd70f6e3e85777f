"""Tables of a receiver's database: the ledger, what was received, and views for people.

`reading` is written in the order of arrival and has no index but its number. The readings of one message have numbers
without a gap, so `record` finds them.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from edge_agent.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

VERSION: Final = 1
APPLICATION: Final = 0x65646765
"""`edge` in ASCII: marks the file as ours."""
BUSY_TIMEOUT_S: Final = 5.0

_TABLES: Final = """
CREATE TABLE node (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, prefix TEXT NOT NULL, state TEXT NOT NULL DEFAULT '',
  epoch INTEGER, lists INTEGER NOT NULL DEFAULT 0, alarm TEXT
) STRICT;
CREATE INDEX node_prefix ON node (prefix);
CREATE TABLE epoch (
  id INTEGER PRIMARY KEY, node INTEGER NOT NULL REFERENCES node, epoch INTEGER NOT NULL, boot INTEGER NOT NULL,
  first_ns INTEGER NOT NULL, progress_ns INTEGER NOT NULL,
  have TEXT NOT NULL DEFAULT '[]', gone TEXT NOT NULL DEFAULT '[]',
  highest INTEGER NOT NULL DEFAULT 0, mark INTEGER NOT NULL DEFAULT 0, complete INTEGER NOT NULL DEFAULT 1,
  listed INTEGER, was_present INTEGER NOT NULL DEFAULT 0, volatile_upto INTEGER,
  records INTEGER NOT NULL DEFAULT 0, duplicates INTEGER NOT NULL DEFAULT 0,
  rows INTEGER NOT NULL DEFAULT 0, readings INTEGER NOT NULL DEFAULT 0, crc_sum INTEGER NOT NULL DEFAULT 0,
  UNIQUE (node, epoch)
) STRICT;
CREATE TABLE part (
  epoch INTEGER NOT NULL REFERENCES epoch, seq INTEGER NOT NULL, total INTEGER, have BLOB NOT NULL, gone BLOB NOT NULL,
  PRIMARY KEY (epoch, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE channel (
  id INTEGER PRIMARY KEY, node INTEGER NOT NULL REFERENCES node, sensor TEXT NOT NULL, quantity TEXT NOT NULL,
  UNIQUE (node, sensor, quantity)
) STRICT;
CREATE TABLE record (
  id INTEGER PRIMARY KEY, epoch INTEGER NOT NULL REFERENCES epoch, seq INTEGER NOT NULL, kind INTEGER NOT NULL,
  boot INTEGER NOT NULL, offset_ns INTEGER NOT NULL, time_quality INTEGER NOT NULL,
  first_reading INTEGER NOT NULL, last_reading INTEGER NOT NULL, first_ns INTEGER, last_ns INTEGER,
  received_ns INTEGER NOT NULL
) STRICT;
CREATE INDEX record_boot ON record (boot);
CREATE TABLE reading (
  id INTEGER PRIMARY KEY, record INTEGER NOT NULL, row INTEGER NOT NULL, channel INTEGER NOT NULL,
  boot_ns INTEGER NOT NULL, offset_ns INTEGER NOT NULL, value REAL, raw REAL, sigma REAL, status INTEGER NOT NULL
) STRICT;
CREATE TABLE feature (
  epoch INTEGER NOT NULL, seq INTEGER NOT NULL, channel INTEGER NOT NULL, record INTEGER NOT NULL,
  count INTEGER NOT NULL, mean REAL, std REAL, minimum REAL, maximum REAL, slope_per_s REAL,
  time_weighted_mean REAL, median REAL, p05 REAL, p95 REAL, rms_difference REAL, share_good REAL,
  PRIMARY KEY (epoch, seq, channel)
) STRICT, WITHOUT ROWID;
CREATE TABLE event (
  record INTEGER PRIMARY KEY REFERENCES record, event TEXT NOT NULL, boot_ns INTEGER NOT NULL,
  offset_ns INTEGER NOT NULL, subject TEXT NOT NULL, state TEXT NOT NULL, cause TEXT NOT NULL,
  errno INTEGER, severity TEXT
) STRICT;
CREATE TABLE time_fix (
  record INTEGER PRIMARY KEY REFERENCES record, node INTEGER NOT NULL REFERENCES node, boot INTEGER NOT NULL,
  from_ns INTEGER NOT NULL, to_ns INTEGER NOT NULL, old_offset_ns INTEGER NOT NULL, new_offset_ns INTEGER NOT NULL,
  issued_ns INTEGER NOT NULL, epoch INTEGER NOT NULL, seq INTEGER NOT NULL
) STRICT;
CREATE INDEX time_fix_boot ON time_fix (node, boot);
CREATE TABLE tombstone (
  id INTEGER PRIMARY KEY, record INTEGER REFERENCES record, epoch INTEGER NOT NULL REFERENCES epoch,
  first_seq INTEGER NOT NULL, last_seq INTEGER, rows TEXT, records INTEGER NOT NULL, readings INTEGER NOT NULL,
  reason TEXT NOT NULL, first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL
) STRICT;
CREATE TABLE announcement (
  id INTEGER PRIMARY KEY, prefix TEXT NOT NULL, number INTEGER NOT NULL, packed BLOB NOT NULL, UNIQUE (prefix, number)
) STRICT;
CREATE TABLE kept (
  number INTEGER PRIMARY KEY, prefix TEXT NOT NULL, announcement INTEGER NOT NULL, payload BLOB NOT NULL
) STRICT;
CREATE TABLE refused (
  node INTEGER NOT NULL, reason TEXT NOT NULL, messages INTEGER NOT NULL, PRIMARY KEY (node, reason)
) STRICT, WITHOUT ROWID;
CREATE TABLE feed (name TEXT PRIMARY KEY, record INTEGER NOT NULL) STRICT;

CREATE VIEW readings AS
SELECT node.name AS node, epoch.epoch AS epoch, record.seq AS seq, reading.row AS row, channel.sensor AS sensor,
  channel.quantity AS quantity, record.boot AS boot, reading.boot_ns AS boot_ns, reading.offset_ns AS offset_ns,
  CASE WHEN typeof(reading.boot_ns + reading.offset_ns) = 'integer' THEN reading.boot_ns + reading.offset_ns END
    AS wall_ns,
  CASE record.time_quality WHEN 0 THEN 'none' WHEN 1 THEN 'bounded' WHEN 2 THEN 'holdover' ELSE 'synced' END
    AS time_quality,
  reading.value AS value, reading.raw AS raw, reading.sigma AS sigma,
  CASE reading.status & 3 WHEN 0 THEN 'good' WHEN 1 THEN 'estimated' WHEN 2 THEN 'suspect' ELSE 'bad' END AS quality,
  reading.status >> 2 AS flags, reading.record AS record, reading.id AS id
FROM reading JOIN record ON record.id = reading.record JOIN epoch ON epoch.id = record.epoch
  JOIN node ON node.id = epoch.node JOIN channel ON channel.id = reading.channel;

CREATE VIEW events AS
SELECT node.name AS node, epoch.epoch AS epoch, record.seq AS seq, event.event, event.subject, event.state,
  event.cause, event.errno, event.severity, record.boot AS boot, event.boot_ns, event.offset_ns,
  CASE WHEN typeof(event.boot_ns + event.offset_ns) = 'integer' THEN event.boot_ns + event.offset_ns END AS wall_ns,
  record.id AS record
FROM event JOIN record ON record.id = event.record JOIN epoch ON epoch.id = record.epoch
  JOIN node ON node.id = epoch.node;

CREATE VIEW tombstones AS
SELECT node.name AS node, told.epoch AS epoch, record.seq AS seq, covered.epoch AS of_epoch, tombstone.first_seq,
  tombstone.last_seq, tombstone.rows, tombstone.records, tombstone.readings, tombstone.reason, tombstone.first_ns,
  tombstone.last_ns, record.id AS record
FROM tombstone JOIN epoch AS covered ON covered.id = tombstone.epoch JOIN node ON node.id = covered.node
  LEFT JOIN record ON record.id = tombstone.record LEFT JOIN epoch AS told ON told.id = record.epoch;
"""


def open_database(path: Path, *, create: bool = False, read_only: bool = False) -> sqlite3.Connection:
    """Open the database of a receiver so that a commit survives a power cut (WAL and FULL).

    Args:
        path: the file.
        create: whether to make it if it is not there.
        read_only: whether only to look; a running receiver is not disturbed.

    Raises:
        Unavailable: it is not there, is something else, is damaged, or a newer program wrote it.
    """
    if not create and not path.is_file():
        raise Unavailable(f"there is no file {path}; `edge-agent receive --broker URL --to sqlite:{path}` makes it")
    mode = "ro" if read_only else "rwc"
    try:
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_TIMEOUT_S,
        )
    except sqlite3.Error as error:
        raise Unavailable(f"{path} cannot be opened: {error}") from None
    try:
        is_empty = _is_empty(db, path)
        if not read_only:
            db.execute("PRAGMA journal_mode=WAL").fetchall()
            db.execute("PRAGMA synchronous=FULL")
        if is_empty and create:
            marks = f"PRAGMA application_id={APPLICATION}; PRAGMA user_version={VERSION};"
            db.executescript(f"BEGIN IMMEDIATE; {_TABLES} {marks} COMMIT;")
    except sqlite3.Error as error:
        db.close()
        raise Unavailable(f"{path} cannot be used: {error}") from None
    except BaseException:
        db.close()
        raise
    return db


def _is_empty(db: sqlite3.Connection, path: Path) -> bool:
    """Whether nothing is in the file yet; refuses the file of another program."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION:
        raise Unavailable(f"{path} is not the database of a receiver; name another file")
    if version > VERSION:
        raise Unavailable(f"{path} was written by a newer edge-agent (schema {version}); upgrade this one")
    return not tables
