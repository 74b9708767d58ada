"""The durable state: one SQLite file in a directory of its own, and who is at work on it."""
