"""Bytes before anything runs: what a job needs, whether it fits, and why."""
