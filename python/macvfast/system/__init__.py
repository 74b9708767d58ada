"""This process and this machine: which files can be trusted, what may be opened, which other processes run."""
