"""What people and programs see: streams, tables, templates, maps."""
