"""Basewright: from base model to your model, every step proven."""

__version__ = "0.1.0"
