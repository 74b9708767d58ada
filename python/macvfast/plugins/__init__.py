"""What container engines call: their words, made requests for one attachment, and what these are answered."""
