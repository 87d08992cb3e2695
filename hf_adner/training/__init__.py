"""Plain training: arguments, preparation, the trainer and whole runs."""
