"""What a pipeline is given, checked: its model, its parameters and its texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def check_model(model: Any, tokenizer: Any) -> None:
    """Check that the two are a tagger and its tokenizer.

    Raises:
        TypeError: the model is no Adner tagger, or there is no tokenizer.
        ValueError: the tokenizer is not the model's.
    """
    # duck typing, not isinstance: under remote code the class exists twice
    if not hasattr(model, "entity_log_posteriors"):
        raise TypeError(
            f"AdnerPipeline needs an AdnerForTokenClassification, found {type(model).__name__}; for other models use "
            'pipeline("token-classification", aggregation_strategy="simple", stride=...)'
        )
    if tokenizer is None:
        raise TypeError("AdnerPipeline needs a tokenizer, found None")
    model.check_tokenizer(tokenizer)


def given(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that are not None."""
    return {name: value for name, value in parameters.items() if value is not None}


def check_probability(value: Any, name: str) -> float:
    """Return an argument that must be a number in [0, 1].

    Raises:
        ValueError: any other value; the message names the argument.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a number in [0, 1], found {value!r}")
    return float(value)


def check_count(value: Any, name: str, least: int = 1) -> int:
    """Return an argument that must be an integer of at least `least` (booleans are refused).

    Raises:
        ValueError: any other value; the message names the argument.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be an integer of {least} or more, found {value!r}")
    return value


def checked_text(text: Any, index: int) -> str:
    """Return a text.

    Raises:
        TypeError: it is no string; the message has its number.
    """
    if isinstance(text, str):
        return text
    hint = '; pass the text column of a dataset, dataset["text"]' if isinstance(text, Mapping) else ""
    raise TypeError(f"text {index} is {type(text).__name__}, expected str{hint}")


def texts_of(inputs: Any) -> Iterator[str]:
    """Return an iterator that checks each text; inputs that are not iterable are refused at once."""
    if isinstance(inputs, (bytes, bytearray, Mapping)):
        raise TypeError(f"inputs is {type(inputs).__name__}, expected str or an iterable of str")
    if hasattr(inputs, "__iter__"):
        items = iter(inputs)
    elif hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__"):  # a torch Dataset such as KeyDataset
        items = (inputs[index] for index in range(len(inputs)))
    else:
        raise TypeError(f"inputs is {type(inputs).__name__}, expected str or an iterable of str")
    return (checked_text(text, index) for index, text in enumerate(items))
