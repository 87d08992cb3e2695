"""What a user can say of a model that no run measures."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_REPOSITORY = re.compile(r"[\w.-]+(/[\w.-]+)?")


@dataclass
class CardOptions:
    """Names, licence and examples for the model card, as a dataclass for `HfArgumentParser`.

    Raises:
        ValueError: a base model or data set that is no name on the Hub, or a negative energy.
    """

    model_title: str | None = field(default=None, metadata={"help": "title of the model card"})
    dataset_title: str | None = field(default=None, metadata={"help": "how the card names the data"})
    dataset_ids: list[str] = field(
        default_factory=list, metadata={"help": "names of the training data on the Hub, if it is there"}
    )
    base_model: str | None = field(
        default=None, metadata={"help": "name of the encoder on the Hub (default: --encoder, unless it is a folder)"}
    )
    model_license: str | None = field(default=None, metadata={"help": "licence of the weights, such as apache-2.0"})
    example_texts: list[str] = field(
        default_factory=list,
        metadata={"help": "texts the card shows, none from the training data (default: invented notes)"},
    )
    energy_kwh: float | None = field(default=None, metadata={"help": "energy of the training, if it was measured"})
    co2_grams: float | None = field(default=None, metadata={"help": "emissions of the training, if measured"})

    def __post_init__(self) -> None:
        for name in [*self.dataset_ids, *filter(None, [self.base_model])]:
            if not _REPOSITORY.fullmatch(name):
                raise ValueError(f"{name!r} is no name on the Hub; expected one of the form owner/name")
        for name in ("energy_kwh", "co2_grams"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")
