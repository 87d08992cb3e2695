"""Checkpoints outside of PyTorch pipelines: ONNX Runtime, OpenVINO, spaCy, HTTP and the browser."""
