"""Candidates to one winner by evidence, or an honest tie."""
