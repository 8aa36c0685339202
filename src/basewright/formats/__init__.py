"""Strangers' files, read strictly and within bounds: JSON, safetensors headers, file names."""
