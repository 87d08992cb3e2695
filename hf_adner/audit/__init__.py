"""Evaluation of models and explanations on documents: prediction, scores, calibration, robustness, audits."""
