"""Text to token ids and back: tokenizer facts, layouts, and the one place that decides BOS, EOS and masks."""
