"""The figures of benches/README.md: `python -m benches --help`."""
