"""Strangers' files, read strictly and within bounds: JSON, safetensors, GGUF, chat templates, file names."""
