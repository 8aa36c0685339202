"""Pages a person reads: numbers as text, charts as SVG, one HTML file without network or script."""
