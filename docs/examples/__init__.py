"""Worked examples in Python, which docs/python.md shows as they are, and which run as tests."""
