"""The plugin of CNI beside the reference plugins: the same calls, and the same results, refusals and end states."""
