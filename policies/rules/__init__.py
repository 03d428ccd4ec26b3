"""Rules, by topic."""
