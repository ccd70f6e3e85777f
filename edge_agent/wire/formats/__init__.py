"""What others read: one file per format, each a function from our own message to theirs. Pure."""
