"""The kernel: what is asked of it (`protocol`), how it is asked (`netlink`), what its refusals mean (`refusals`)."""
