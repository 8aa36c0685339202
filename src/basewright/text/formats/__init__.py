"""The forms a tokenizer comes in, each read into one of the `tokenizers` library."""
