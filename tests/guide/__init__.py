"""Every example of docs/guide.md and README.md, typed at a terminal and compared with what the page shows."""
