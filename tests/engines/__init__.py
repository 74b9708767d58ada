"""Real engines of several Debian releases, with real containers; only `make engines` runs them."""
