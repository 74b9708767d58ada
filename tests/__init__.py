"""The tests of macvfast."""
