"""Weights to disk, through one airlock."""
