"""Self-contained pages that show explanations to people."""
