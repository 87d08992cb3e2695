"""How probable a model finds given entities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from hf_adner.explain.passages import Passage, Span
from hf_adner.explain.tagger import Tagger
from hf_adner.explain.targets import EntityTokens, Tagging, Target


def entity_posteriors(
    tagger: Tagger, texts: Sequence[str], entities: Sequence[Sequence[Span]], batch_size: int = 16
) -> list[list[float]]:
    """Probability of exactly these spans with these labels, as the pipeline's `score`.

    Our models give the posterior of the span, others the product of its tokens' label probabilities.

    Args:
        tagger: model and tokenizer.
        texts: of any length; long ones go through windows.
        entities: per text its entities (start, end, label), which need not be what the model finds.
        batch_size: windows per forward pass.

    Returns:
        Per text one probability in [0, 1] for each of its entities.

    Raises:
        ValueError: an entity with a boundary inside a token, or longer than the model.
    """
    found = [[0.0] * len(ones) for ones in entities]
    with tagger.quiet(), torch.no_grad():
        for group in _groups(tagger, texts, entities, batch_size):
            batch = tagger.encode(texts, group)
            homes = [(row, index, span) for row, one in enumerate(group) for index, span in one.entities]
            places = [batch.tokens_of(row, span) for row, _, span in homes]
            values = _log_posteriors(tagger, tagger.tag(batch.inputs), places).exp().clamp(0, 1).tolist()
            for (row, index, _), value in zip(homes, values):
                found[group[row].text][index] = value
    return found


def _groups(tagger: Tagger, texts: Sequence[str], entities: Sequence[Sequence[Span]], size: int) -> Iterator[list]:
    """Batches of windows of like length."""
    passages: list[Passage] = []
    for number, (text, ones) in enumerate(zip(texts, entities, strict=True)):
        passages += tagger.passages(number, text, ones) if ones else []
    passages.sort(key=lambda one: one.window.start - one.window.end)
    return (passages[first : first + size] for first in range(0, len(passages), size))


def _log_posteriors(tagger: Tagger, tagging: Tagging, places: Sequence[EntityTokens]) -> Tensor:
    """(entities,) float32."""
    if tagger.is_adner:
        return Target("span", tagger.labels, tagger.model.entity_log_posteriors)(tagging, places)
    values = [_token_product(tagger, tagging, place) for place in places]
    return torch.stack(values) if values else tagging.log_probs.new_zeros(0)


def _token_product(tagger: Tagger, tagging: Tagging, place: EntityTokens) -> Tensor:
    inside = [tagger.labels.inside(place.label)] * (place.end - place.start - 1)
    labels = [tagger.labels.begin(place.label), *inside]
    return tagging.log_probs[place.row, range(place.start, place.end), labels].sum()
