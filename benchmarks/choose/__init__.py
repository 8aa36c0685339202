"""Choosing, measured: on tables of real models, and live on tasks of others and our own."""
