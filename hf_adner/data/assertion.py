"""The assertion of an entity as documents keep it: the attributes that hold, in the entity's `meta`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from hf_adner.data.errors import DataFormatError, error_location, excerpt
from hf_adner.data.records import Document, Entity
from hf_adner.model.assertion_table_adner import ATTRIBUTES

ASSERTION = "assertion"
"""Key of an entity's `meta` for the sorted list of those of `ATTRIBUTES` that hold."""


def is_assertion(value: Any) -> bool:
    """Return whether a value of `meta` is a sorted list of attributes of an assertion, at least one."""
    is_list = isinstance(value, list) and bool(value) and all(isinstance(name, str) for name in value)
    return is_list and set(value) <= set(ATTRIBUTES) and value == sorted(set(value))


def assertion_of(entity: Entity) -> list[str] | None:
    """Return the attributes of an entity, None where it has no statement of them.

    Raises:
        DataFormatError: a statement that is neither an empty list nor `is_assertion`.
    """
    value = entity.meta.get(ASSERTION)
    if value is None or value == [] or is_assertion(value):
        return value
    raise DataFormatError(
        f"assertion of entity {entity.start}-{entity.end} is {excerpt(str(value), 40)}, expected a sorted list of "
        f"{', '.join(ATTRIBUTES)}"
    )


def gold_assertions(document: Document, leave_out: Collection[str] = ()) -> list[list[str]]:
    """Return the attributes of each entity of an annotated document, none for entities of the labels `leave_out`.

    Raises:
        DataFormatError: an entity without a statement, or with another than a list of attributes; names the document.
    """
    with error_location(record=document.id):
        found = [assertion_of(entity) for entity in document.entities]
        for entity, holds in zip(document.entities, found):
            if holds is None and entity.label not in leave_out:
                raise DataFormatError(f"entity {entity.start}-{entity.end} has no assertion in its meta")
    return [holds or [] for holds in found]
