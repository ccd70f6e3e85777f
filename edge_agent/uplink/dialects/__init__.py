"""What is said upstream, in whose words: one object per dialect, chosen by the configuration."""
