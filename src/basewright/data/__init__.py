"""Records in: read, check, split, pack. Every row is accounted for."""
