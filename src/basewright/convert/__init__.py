"""Change form: merge an adapter, write GGUF, quantize. What comes out is compared with what went in, in numbers."""
