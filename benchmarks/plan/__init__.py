"""The plan against the truth: predicted and measured peaks, and the tensors of large models under fake weights."""
