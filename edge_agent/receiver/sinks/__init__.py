"""Where a receiver writes: SQLite holds ledger and readings, ndjson is fed from it."""
