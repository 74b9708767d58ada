"""Networks imported from other programs: read, converted, and shown before they are made."""
