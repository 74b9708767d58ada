"""Networks taken over from other programs: read, converted, and shown before they are made."""
