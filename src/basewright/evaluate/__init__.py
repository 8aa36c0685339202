"""Tasks to scores with intervals; every score says how it was made."""
