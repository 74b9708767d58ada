"""The guide's page and the command line, on a real kernel, judged by other programs than macvfast."""
