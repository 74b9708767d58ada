"""This process and this machine: which files are trusted, how many may be open, which other processes run."""
