"""Explanations of a guided run: remembered local maps, global table, fusion, and the controls that replace maps.

The state does not change during an epoch, so that data-loader workers and processes agree on every view; `advance`
takes in the observations of the epoch.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from hf_adner.explain.fusion import EmpiricalBayes, Fusion, FusionInputs, Local, pad_inputs, shrunk_variance
from hf_adner.explain.global_table import GlobalTable
from hf_adner.explain.table_files import TableNoise
from hf_adner.explain.unit_statistics import character_roles
from hf_adner.guided.saliency_cache import DECAY, FIRST_VARIANCE, Key, Memory, SaliencyCache
from hf_adner.guided.windows import TrainingWindow

Shares = Callable[[Key], "np.ndarray | None"]

UNKNOWN_VARIANCE = 1e4
"""Variance of a local map that nobody has seen: any fusion that reads variances then trusts the table alone."""

SAMPLE = 512
"""Entities that the estimates of an epoch are made of."""


class ExplanationState:
    """The explanations of a run, as they stand in an epoch.

    Args:
        windows: the training windows.
        fusion: how local and global maps are joined.
        table: the global table.
        control: a name of `EXPLANATION_CONTROLS`, what to put in an explanation's place.
        seed: of the run.
    """

    def __init__(
        self,
        windows: Sequence[TrainingWindow],
        fusion: Fusion,
        table: GlobalTable,
        control: str = "none",
        seed: int = 0,
    ):
        self.windows, self.fusion, self.table, self.seed = windows, fusion, table, seed
        self.cache = SaliencyCache()
        self.epoch = 0
        self.is_ready = False
        self.mean_variance = FIRST_VARIANCE
        self.edges = EdgeScale()
        spans = [[one.text_span(number) for number in range(len(one.spans))] for one in windows]
        self.control = make_control(control, seed, spans, self._text_shares, [one.source for one in windows])

    def focus_of(self, window: int) -> int | None:
        """The entity of a window that this epoch explains, drawn by seed, epoch and window; None without entities."""
        one = self.windows[window]
        if not one.spans:
            return None
        return random.Random(f"focus {self.seed} {self.epoch} {one.document.id}").randrange(len(one.spans))

    # ---- reading ----------------------------------------------------------------------------------------------

    def recall(self, keys: Sequence[Key]) -> list[Recollection]:
        """Return what is remembered of entities."""
        memories = [self.cache.remembered.get(key) for key in keys]
        if isinstance(self.fusion, Local):
            priors = [(np.zeros(len(self.windows[window].tokens), dtype=np.float32),) * 2 for window, _ in keys]
        else:
            priors = self._priors(keys, memories)
        return [Recollection(memory, *prior) for memory, prior in zip(memories, priors)]

    def _priors(self, keys: Sequence[Key], memories: Sequence[Memory | None]) -> list[tuple[np.ndarray, np.ndarray]]:
        windows = [self.windows[window] for window, _ in keys]
        entities = [one.document.entities[number] for one, (_, number) in zip(windows, keys)]
        spans = [(entity.start, entity.end, entity.label) for entity in entities]
        own = [None if memory is None else self._own_part(one, memory) for one, memory in zip(windows, memories)]
        found = self.table.lookup_many([one.document.text for one in windows], spans, own)
        return [
            (one.tokens.to_tokens(entry.mean).astype(np.float32), one.tokens.means(entry.variance).astype(np.float32))
            for one, entry in zip(windows, found)
        ]

    @staticmethod
    def _own_part(window: TrainingWindow, memory: Memory) -> np.ndarray:
        """(3, length) what the table holds of an entity: its maps, taken as if all had been their average."""
        logs = window.tokens.to_characters(memory.mean)
        counts = np.where(np.isnan(logs), 0.0, memory.weight)
        logs = np.nan_to_num(logs)
        return np.stack([counts, counts * logs, counts * logs**2])

    def has_map(self, known: Recollection) -> bool:
        """Whether the fusion has anything to go by."""
        return known.memory is not None or not isinstance(self.fusion, Local)

    def inputs(self, keys: Sequence[Key], known: Sequence[Recollection], length: int | None = None) -> FusionInputs:
        """Recollections as the input of the fusion, (entities, tokens); an unknown local map is the table's."""
        windows = [self.windows[window] for window, _ in keys]
        spans = [one.spans[number] for one, (_, number) in zip(windows, keys)]
        variance = [self.trusted_variance(one) for one in known]
        return pad_inputs(
            [one.prior if one.memory is None else one.memory.mean for one in known],
            [(one.prior, one.prior_variance, np.zeros_like(one.prior)) for one in known],
            variance,
            [character_roles(len(one.tokens), start, end) for one, (start, end, _) in zip(windows, spans)],
            [one.tokens.is_text for one in windows],
            length,
        )

    def trusted_variance(self, known: Recollection) -> float:
        """Perturbation variance of a remembered map, moved halfway to the corpus' mean."""
        if known.memory is None:
            return UNKNOWN_VARIANCE
        variance = self.mean_variance if np.isnan(known.memory.variance) else known.memory.variance
        return float(shrunk_variance(variance, self.mean_variance))

    def shares(self, keys: Sequence[Key], known: Sequence[Recollection]) -> list[np.ndarray | None]:
        """Fused maps of entities as they are remembered, (tokens,) each, or what the control puts in their place.

        Args:
            keys: of the entities.
            known: what `recall` said of them.
        """
        found = self._plain_shares(keys, known)
        return [None if one is None else self.substitute(one, key) for one, key in zip(found, keys)]

    def substitute(self, shares: np.ndarray, key: Key) -> np.ndarray:
        """The control's map in the place of an entity's (tokens,)."""
        if self.control is None:
            return shares
        window, number = key
        is_text = self.windows[window].tokens.is_text
        replaced = np.zeros_like(shares)
        replaced[is_text] = self.control(shares[is_text], self.windows[window].text_span(number), key, self.epoch)
        return replaced

    def _text_shares(self, key: Key) -> np.ndarray | None:
        [shares] = self._plain_shares([key], self.recall([key]))
        return None if shares is None else shares[self.windows[key[0]].tokens.is_text]

    def _plain_shares(self, keys: Sequence[Key], known: Sequence[Recollection]) -> list[np.ndarray | None]:
        if not keys:
            return []
        with torch.no_grad():
            fused = self.fusion(self.inputs(keys, known)).scores.numpy()
        return [
            row[: len(self.windows[key[0]].tokens)] if self.has_map(one) else None
            for row, key, one in zip(fused, keys, known)
        ]

    # ---- from epoch to epoch ----------------------------------------------------------------------------------

    def advance(self, epoch: int) -> None:
        """Take in what was observed, and make the estimates anew for an epoch.

        Args:
            epoch: that begins, from 0.
        """
        self.table.decay(DECAY)
        for (window, number), seen in self.cache.advance():
            one = self.windows[window]
            entity = one.document.entities[number]
            logs = one.tokens.to_characters(seen.logs)
            self.table.add(one.document.text, (entity.start, entity.end, entity.label), logs, document=one.source)
        self.epoch = epoch
        self.is_ready = self.is_ready or len(self.cache) > 0
        if self.is_ready:
            self._estimate()

    def _estimate(self) -> None:
        self.mean_variance = self.cache.mean_variance
        keys = sorted(self.cache.remembered)
        if len(keys) > SAMPLE:
            keys = sorted(random.Random(f"estimate {self.seed} {self.epoch}").sample(keys, SAMPLE))
        if isinstance(self.fusion, EmpiricalBayes):
            self.fusion.update(self.inputs(keys, self.recall(keys)))
            self.table.noise = TableNoise(self.mean_variance, tuple(self.fusion.moments.tolist()), len(keys))
        self.edges = self._edge_scale(keys)

    def _edge_scale(self, keys: Sequence[Key]) -> EdgeScale:
        masses = []
        for key, shares in zip(keys, self.shares(keys, self.recall(keys))):
            start, end, _ = self.windows[key[0]].spans[key[1]]
            masses.append((shares[max(start - 1, 0) : start + 1].sum(), shares[end - 1 : end + 1].sum()))
        return EdgeScale(*(float(side) for side in np.percentile(masses, 90, axis=0)))

    def state(self) -> dict[str, Any]:
        """Numbers beside cache and table that a checkpoint keeps; JSON values."""
        return {
            "epoch": self.epoch,
            "is_ready": self.is_ready,
            "mean_variance": self.mean_variance,
            "edges": list(self.edges),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self.epoch, self.is_ready = state["epoch"], state["is_ready"]
        self.mean_variance, self.edges = state["mean_variance"], EdgeScale(*state["edges"])


class Recollection(NamedTuple):
    """Knowledge of an entity before it is explained again; arrays are (tokens,) float32.

    Attributes:
        memory: its remembered local map, None if there is none.
        prior, prior_variance: what the global table expects without the entity's own part.
    """

    memory: Memory | None
    prior: np.ndarray
    prior_variance: np.ndarray


class EdgeScale(NamedTuple):
    """90th percentile in the corpus of a fused map's mass at an entity's start, and at its end."""

    start: float = 1.0
    end: float = 1.0


def make_control(
    name: str,
    seed: int,
    spans: Sequence[Sequence[tuple[int, int]]],
    shares: Shares,
    documents: Sequence[Hashable],
) -> ExplanationControl | None:
    """A control by its name in `EXPLANATION_CONTROLS`; None for "none". Arguments as for `OtherSentence`."""
    if name == "none":
        return None
    if name == "other-sentence":
        return OtherSentence(seed, spans, shares, documents)
    return {"shuffled": Shuffled, "random": Random}[name](seed)


class ExplanationControl(ABC):
    """Replaces the map of an entity, always by the same one in the same epoch of runs with the same seed.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def __call__(self, shares: np.ndarray, span: tuple[int, int], key: Key, epoch: int) -> np.ndarray:
        """The map to use instead.

        Args:
            shares: (text tokens,) the entity's map, summing to 1.
            span: its tokens among them, end exclusive.
            key: number of its window, and its number in it.
            epoch: from 0.
        """
        return self._replace(shares, span, key, epoch, random.Random(f"control {self.seed} {epoch} {key}"))

    @abstractmethod
    def _replace(
        self, shares: np.ndarray, span: tuple[int, int], key: Key, epoch: int, rng: random.Random
    ) -> np.ndarray: ...


class Shuffled(ExplanationControl):
    """The same shares in another order: as peaked, at the wrong places."""

    def _replace(self, shares, span, key, epoch, rng) -> np.ndarray:
        return shares[rng.sample(range(len(shares)), len(shares))]


class Random(ExplanationControl):
    """Shares drawn uniformly from all that sum to 1."""

    def _replace(self, shares, span, key, epoch, rng) -> np.ndarray:
        drawn = np.array([rng.expovariate(1.0) for _ in shares])
        return drawn / drawn.sum()


class OtherSentence(ExplanationControl):
    """The map of an entity of another window, laid so that both entities begin at the same token.

    Args:
        seed: of the run.
        spans: per window the text tokens (start, end) of its entities.
        shares: the map of an entity by its key, None if there is none.
        documents: per window the text that it is of; windows of one text overlap.
    """

    def __init__(
        self, seed: int, spans: Sequence[Sequence[tuple[int, int]]], shares: Shares, documents: Sequence[Hashable]
    ):
        super().__init__(seed)
        self._spans, self._shares, self._documents = spans, shares, documents
        self._donors = [number for number, own in enumerate(spans) if own]

    def _replace(self, shares, span, key, epoch, rng) -> np.ndarray:
        donor, number = self._draw(key[0], rng)
        found = None if donor is None else self._shares((donor, number))
        if found is None:
            return np.full(len(shares), 1 / max(len(shares), 1))
        shift = span[0] - self._spans[donor][number][0]
        places = np.arange(len(shares)) - shift
        inside = (places >= 0) & (places < len(found))
        laid = np.where(inside, found[places.clip(0, len(found) - 1)], found.min()).clip(min=1e-9)
        return laid / laid.sum()

    def _draw(self, window: int, rng: random.Random) -> tuple[int | None, int]:
        for _ in range(8):
            donor = rng.choice(self._donors)
            if self._documents[donor] != self._documents[window]:
                return donor, rng.randrange(len(self._spans[donor]))
        return None, 0
