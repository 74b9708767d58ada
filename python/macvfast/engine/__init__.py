"""The engine: what `Host` does to networks, sandboxes and endpoints, from a request to the kernel and back."""
