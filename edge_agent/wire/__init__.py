"""What one message holds, and its bytes. `FORMAT.md` is the public specification of version 2."""
