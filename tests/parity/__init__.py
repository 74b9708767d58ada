"""macvfast beside a real Docker Engine: the same requests to both, and every answer compared."""
