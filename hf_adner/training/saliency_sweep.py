"""One pass over training windows before explanations are used: the first local maps, which fill cache and table."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from tqdm.auto import tqdm

from hf_adner.explain.tagger import Tagger
from hf_adner.training.guidance import Guidance
from hf_adner.training.guided_batch import GuidedBatch
from hf_adner.training.guided_examples import GuidedDataset
from hf_adner.training.saliency_cache import Key, Observation
from hf_adner.training.step_explainer import StepExplainer


def swept_windows(guidance: Guidance, most: int) -> list[int]:
    """The windows that a sweep explains, drawn by the run's seed from those with entities, sorted by length.

    Args:
        guidance: of the run.
        most: how many at most.
    """
    own = [number for number, window in enumerate(guidance.windows) if window.spans]
    if len(own) > most:
        own = random.Random(f"sweep {guidance.seed}").sample(own, most)
    return sorted(own, key=lambda number: (len(guidance.windows[number].tokens), number))


def sweep(
    tagger: Tagger,
    dataset: GuidedDataset,
    collate: Callable[[Sequence[Any]], dict[str, Any]],
    windows: Sequence[int],
    batch_size: int,
    explainer: StepExplainer,
) -> dict[Key, Observation]:
    """Explain one entity of each window, the one that the coming epoch has in focus.

    The model is left as it was, and no random number is drawn.

    Args:
        tagger: the unwrapped model and its tokenizer.
        dataset: of the run.
        collate: makes batches of its examples.
        windows: numbers of rows.
        batch_size: windows per forward pass.
        explainer: of the guidance's epoch.
    """
    found: dict[Key, Observation] = {}
    with tagger.quiet():
        starts = range(0, len(windows), batch_size)
        for first in tqdm(starts, desc="Explaining windows", unit="batch", disable=None, leave=False):
            examples = dataset.plain(list(windows[first : first + batch_size]))
            inputs = {name: one.to(tagger.device) for name, one in collate([one.features for one in examples]).items()}
            batch = GuidedBatch(examples, inputs.pop("labels"), tagger.labels.types)
            embeds = tagger.embed(inputs["input_ids"]).requires_grad_()
            tagging = tagger.tag(inputs, embeds)
            found.update(explainer.observe(batch, embeds, tagging.log_probs))
    return found
