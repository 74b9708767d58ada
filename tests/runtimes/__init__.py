"""Real container runtimes that call macvfast as their plugin."""
