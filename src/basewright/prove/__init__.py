"""Proofs: the certificate before training, and what held after it. One kind of check per file."""
