"""A folder a person can hand on: weights, card, licence duties, ML-BOM, proof, and the check that it is whole."""
