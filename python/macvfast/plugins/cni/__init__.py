"""CNI (the Container Network Interface): what a runtime asks, and what it is answered."""
