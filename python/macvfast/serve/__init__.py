"""`macvfast serve`: command lines done by warm interpreters. Nothing needs it, and it keeps nothing."""
