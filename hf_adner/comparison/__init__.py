"""Comparisons of training methods: arms, runs, records, contrasts and reports; and cross-validation."""
