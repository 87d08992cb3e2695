"""Explanation-guided training: arguments, perturbation along remembered gradients, consistency, and the trainer."""
