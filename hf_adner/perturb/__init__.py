"""Perturbations of documents, each with the new text, its entities and the alignment of every character."""
