"""What is true about base models: curated cards with their sources, and cards read from a folder's config."""
