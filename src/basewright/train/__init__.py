"""Change weights: one loop, one loss function per method."""
