"""Checkpoints outside of PyTorch pipelines: ONNX and spaCy."""
