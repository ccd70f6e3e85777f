"""What is unusual about one channel, or about two that measure the same. Pure."""
