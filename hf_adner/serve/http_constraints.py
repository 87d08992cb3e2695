"""Words that are entities, or are none: those of a request to `/tag`, checked and added to those of the server.

What is wrong is told by the place in the request, never by quoting a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from fastapi import HTTPException
from pydantic import BaseModel, ConfigDict, Field

from hf_adner.model.constraints_adner import (
    ANY_LABEL,
    FORBID,
    FORCE,
    Constraint,
    ConstraintReader,
    Constraints,
    as_constraints,
    choose_constraints,
)
from hf_adner.model.encoders_adner import longest_text
from hf_adner.model.lexicon_adner import word_error
from hf_adner.model.pipeline_adner import DEFAULT_OVERLAP, DEFAULT_WINDOW

LONGEST_WORD = 100
"""Characters of a word, and of its label, in a request."""


class WordConstraint(BaseModel):
    """A word that is an entity of a label wherever it occurs, or never is one."""

    model_config = ConfigDict(extra="forbid")
    word: str = Field(min_length=1, max_length=LONGEST_WORD)
    label: str = Field(
        min_length=1, max_length=LONGEST_WORD, description='label of the model; "*", every label, only to forbid'
    )
    action: Literal["force", "forbid"] = FORCE


class ServedConstraints:
    """The constraints of a server, and those that requests add to them.

    Args:
        choice: constraints of all requests, as for `AdnerPipeline`; None: none.
        model, tokenizer: of the checkpoint.
        most: largest number of constraints in a request.

    Raises:
        FileNotFoundError, ValueError: the table is missing or wrong; names file and line.
    """

    def __init__(self, choice: Any, model: Any, tokenizer: Any, most: int) -> None:
        self.own: Constraints | None = as_constraints(choice)
        self._config, self._tokenizer, self._most = model.config, tokenizer, most
        self._window = longest_text(model, tokenizer) or DEFAULT_WINDOW
        self._own_reader = choose_constraints(self.own, self._config, tokenizer)

    def of_request(self, rows: Sequence[WordConstraint] | None, texts: Sequence[str]) -> Constraints | None:
        """Return what holds for the texts of a request: the constraints of the server with those of the request.

        Raises:
            HTTPException: too many constraints (413); one that the model cannot take, or that contradicts another
                (422).
        """
        found, reader = self._joined(rows) if rows else (self.own, self._own_reader)
        if reader is not None:
            self._check_windows(reader, texts)
        return found

    def _joined(self, rows: Sequence[WordConstraint]) -> tuple[Constraints, ConstraintReader | None]:
        if len(rows) > self._most:
            raise HTTPException(413, f"{len(rows):,} constraints in a request, expected {self._most:,} at most")
        for number, row in enumerate(rows):
            if error := self._error(row):
                raise HTTPException(422, f"constraints[{number}] {error}")
        added = [Constraint(row.word, row.label, row.action == FORCE) for row in rows]
        try:
            found = Constraints([*(self.own.rows if self.own else ()), *added])
            return found, choose_constraints(found, self._config, self._tokenizer)
        except ValueError:  # its message quotes the words
            raise HTTPException(
                422,
                "constraints contradict each other, or those of the server: a word, as the model reads it, is forced "
                "to be two labels, or forced and forbidden",
            ) from None

    def _error(self, row: WordConstraint) -> str | None:
        if error := word_error(row.word):
            return f"has a word that {error}"
        if row.action == FORBID and not self._config.use_crf:
            return "forbids a word, which needs a model with a CRF"
        if row.label not in self._config.entity_types and (row.label, row.action) != (ANY_LABEL, FORBID):
            return f'needs a label of the model, {sorted(self._config.entity_types)} ("*" forbids them all)'
        return None

    def _check_windows(self, reader: ConstraintReader, texts: Sequence[str]) -> None:
        for number, text in enumerate(texts):
            try:
                reader.windows(text, self._window, min(DEFAULT_OVERLAP, self._window // 2))
            except ValueError as error:  # forced words that no window holds; it tells lengths alone
                raise HTTPException(422, f"texts[{number}]: {error}") from None
