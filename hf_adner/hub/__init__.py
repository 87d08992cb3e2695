"""Checkpoints on their way to the Hub: everything that belongs to one, and nothing that must stay."""
