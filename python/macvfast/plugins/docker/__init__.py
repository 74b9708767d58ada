"""The plugin of Docker: its NetworkDriver and IpamDriver (moby, `daemon/libnetwork/docs/remote.md` and `ipam.md`)."""
