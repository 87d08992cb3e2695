"""Comparisons of ways to train: arms, runs, records, contrasts, reports, and cross-validation."""
