"""The topology of a host as a tree, JSON, Graphviz's dot, and SVG."""
