"""Checkpoint files, and pushing everything that belongs to a checkpoint to the Hub."""
