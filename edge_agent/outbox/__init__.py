"""Store-and-forward: every record is on disk before it leaves, and stays until it has arrived."""
