"""Podman, by way of netavark: what it asks its plugins, and what it is answered."""
