"""The Trainer of explanation-guided runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hf_adner.data.records import Document
from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.training.trainer import AdnerTrainer


class ExplanationGuidedTrainer(AdnerTrainer):
    """`AdnerTrainer` whose model is also taught by its own explanations.

    Args:
        train_documents: the documents that `train_dataset` was made of by `encode_dataset`, in their order; a dataset
            of them or any iterable of `Document`.
        lexicon: words that views edit as a whole; default: the tokenizer's own, if it has one.
        kwargs: of `Trainer`; `args` are `ExplanationGuidedTrainingArguments`, `processing_class` the tokenizer.
    """

    def __init__(
        self,
        *args: Any,
        train_documents: Iterable[Document] | Any = None,
        lexicon: Lexicon | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.train_documents, self.lexicon = train_documents, lexicon
