"""Pretraining of encoders on plain text with the objective of MacBERT (Cui et al. 2020)."""
