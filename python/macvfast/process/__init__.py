"""A sandbox's command: how it is started, what it has of its own, and how it is ended."""
