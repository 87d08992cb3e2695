"""Explanation-guided training: arguments, objective, loss terms, caches, monitors and the trainer.

The loss terms are pure functions of tensors: one value per row, summed where rows have parts. The trainer divides their
sums by counts that are known before the forward pass, so that accumulated, distributed and single batches have the same
loss.
"""
