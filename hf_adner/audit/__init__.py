"""Runs models over documents and makes the numbers."""
