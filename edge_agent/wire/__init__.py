"""Records, and their bytes in messages. `FORMAT.md` is the public specification of version 2."""
