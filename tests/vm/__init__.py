"""A virtual machine with Debian's kernel, and the tests that need what this machine's own kernel may lack."""
