"""Training: arguments, optimizer groups, the trainer, whole runs and cross-validation."""
