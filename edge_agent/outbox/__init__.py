"""Store and forward: every record is on disk before it is sent, and stays there until it has arrived."""
