"""The tiny models of the explainers' tests."""

from ..explain.conftest import build, tokenizer

__all__ = ["build", "tokenizer"]
