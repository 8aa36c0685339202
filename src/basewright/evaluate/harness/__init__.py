"""lm-evaluation-harness, both ways: its benchmarks on our engines, and our engines under its command line."""
