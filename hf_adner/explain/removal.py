"""Hiding units of the text, and the explainers that do so at random: LIME and KernelSHAP by captum."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hf_adner.explain.explainer import DEFAULT_BATCH_SIZE, Attribution, RowExplainer
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.explain.targets import EntityTokens, Tagging, Target
from hf_adner.explain.text_windows import DEFAULT_CONTEXT
from hf_adner.model.lexicon_adner import leftmost_longest
from hf_adner.model.pipeline_adner import check_count

if TYPE_CHECKING:
    from captum.attr import KernelShap as CaptumKernelShap
    from captum.attr import Lime as CaptumLime

UNITS = ("characters", "lexicon-words", "words")
"""Parts of the text that are hidden as a whole; lexicon words are leftmost-longest, words are separated by spaces."""

Range = tuple[int, int]


def split_into_units(text: str, units: str, tokenizer: Any) -> list[Range]:
    """Split a text into ranges of characters without gaps; characters outside words are units of their own.

    Raises:
        ValueError: unknown units, or lexicon words without a lexicon.
    """
    check_units(units, tokenizer)
    if units == "characters":
        words: Iterable[Range] = ()
    elif units == "words":
        words = (match.span() for match in re.finditer(r"\S+", text))
    else:
        reading = {"script_map": getattr(tokenizer, "script_map", None)}
        matches = tokenizer.lexicon.match(text, lower_case=getattr(tokenizer, "do_lower_case", True), **reading)
        words = [(start, end) for _, start, end in leftmost_longest(matches)]
    return _with_single_characters(words, len(text))


def check_units(units: str, tokenizer: Any) -> None:
    """Raise the `ValueError` of `split_into_units` without a text."""
    if units not in UNITS:
        raise ValueError(f"units must be one of {UNITS}, found {units!r}")
    if units == "lexicon-words" and getattr(tokenizer, "lexicon", None) is None:
        raise ValueError("units='lexicon-words' needs a tokenizer with a lexicon; use 'characters' or 'words'")


def _with_single_characters(words: Iterable[Range], length: int) -> list[Range]:
    ranges: list[Range] = []
    place = 0
    for start, end in [*words, (length, length)]:
        ranges += [(character, character + 1) for character in range(place, start)]
        ranges += [(start, end)] if end > start else []
        place = end
    return ranges


class Masking:
    """Runs the model on copies of a window with hidden units, for all its entities at once.

    Hidden tokens become the mask token (`Tagger.mask_id`). Lexicon words that contain a hidden token are no longer
    matched, as they would reveal it.

    Args:
        tagger: model and tokenizer.
        target: the explained scalar.
        row: a batch of one row.
        units: see `split_into_units`.
        places: the entities, in row 0.
        batch_size: copies per forward pass.

    Attributes:
        count: number of units with a token.
        token_units: (tokens,) the unit of each token, -1 for special tokens.
    """

    def __init__(
        self,
        tagger: Tagger,
        target: Target,
        row: TokenBatch,
        units: str,
        places: Sequence[EntityTokens],
        batch_size: int,
    ):
        self._tagger, self._target, self._row = tagger, target, row
        self._places, self._batch_size = list(places), batch_size
        text, start = row.windows[0]
        ranges = split_into_units(text, units, tagger.tokenizer)
        self.token_units = token_units(row.offsets[0], row.is_text[0].tolist(), start, ranges)
        self.count = int(self.token_units.max()) + 1 if len(self.token_units) else 0

    def whole(self) -> tuple[Tensor, Tensor]:
        """Return target values (entities,), on the CPU, and log-probabilities (tokens, labels), with nothing hidden."""
        with torch.no_grad():
            tagging = self._tagger.tag(self._row.inputs)
            return self._read(tagging, 1)[0], tagging.log_probs[0]

    def scores(self, kept: Tensor) -> Tensor:
        """Compute target values with all other units hidden.

        Args:
            kept: (copies, units) bool.

        Returns:
            (copies, entities) float32, on the CPU.
        """
        return torch.cat([self._run(self._inputs(part)) for part in kept.split(self._batch_size)])

    def without_words(self) -> Tensor | None:
        """Compute target values without each matched word of the lexicon in turn; its characters stay.

        Returns:
            (words, entities) float32, on the CPU; None if the model does not use the lexicon.
        """
        ids = self._row.inputs.get("lexicon_ids")
        if ids is None or not self._tagger.reads_lexicon:
            return None
        count = ids.shape[1]
        hidden = ids.expand(count, -1).masked_fill(torch.eye(count, dtype=torch.bool, device=ids.device), 0)
        parts = [self._row.copies(len(part), lexicon_ids=part) for part in hidden.split(self._batch_size)]
        return torch.cat([self._run(part) for part in parts])

    def shared_over_tokens(self, scores: Tensor) -> Tensor:
        """Split the score of each unit over its tokens in proportion to their characters, (units,) -> (tokens,)."""
        lengths = torch.tensor([end - start for start, end in self._row.offsets[0]], dtype=scores.dtype)
        inside = self.token_units >= 0
        index = self.token_units.clamp(min=0)
        totals = torch.zeros(max(self.count, 1), dtype=scores.dtype).index_add(0, index, lengths * inside)
        return torch.where(inside, scores[index] * lengths / totals[index].clamp(min=1), 0)

    def _inputs(self, kept: Tensor) -> dict[str, Tensor]:
        hidden = ~kept[:, self.token_units.clamp(min=0)] & (self.token_units >= 0)  # (copies, tokens)
        return hide_tokens(self._row.copies(len(kept)), hidden.to(self._tagger.device), self._tagger.mask_id)

    def _run(self, inputs: dict[str, Tensor]) -> Tensor:
        with torch.no_grad():
            return self._read(self._tagger.tag(inputs), len(inputs["input_ids"]))

    def _read(self, tagging: Tagging, count: int) -> Tensor:
        places = [place._replace(row=copy) for copy in range(count) for place in self._places]
        return self._target(tagging, places).view(count, len(self._places)).cpu()


def token_units(offsets: Sequence[Range], is_text: Sequence[bool], start: int, ranges: Sequence[Range]) -> Tensor:
    """Return the unit of each token of a row by its first character, (tokens,), -1 for special tokens.

    Args:
        offsets: characters (start, end) of each token in the whole text.
        is_text: whether each token covers characters.
        start: first character of the row's window.
        ranges: the window's units, see `split_into_units`; renumbered without those that get no token.
    """
    unit_of = [unit for unit, (first, after) in enumerate(ranges) for _ in range(first, after)]
    tokens = [unit_of[first - start] if inside else -1 for (first, _), inside in zip(offsets, is_text)]
    number = {unit: rank for rank, unit in enumerate(sorted({unit for unit in tokens if unit >= 0}))}
    return torch.tensor([number.get(unit, -1) for unit in tokens], dtype=torch.long)


def hide_tokens(inputs: Mapping[str, Tensor], hidden: Tensor, mask_id: int) -> dict[str, Tensor]:
    """Return inputs in which tokens are the mask token and matched words with a hidden token are gone.

    Args:
        inputs: of the model, (rows, ...).
        hidden: (rows, tokens) bool.
        mask_id: see `Tagger.mask_id`.
    """
    replaced = {**inputs, "input_ids": inputs["input_ids"].masked_fill(hidden, mask_id)}
    if "lexicon_ids" in inputs:
        before = torch.nn.functional.pad(hidden.cumsum(1), (1, 0))  # hidden tokens before each token
        is_whole = before.gather(1, inputs["lexicon_ends"]) == before.gather(1, inputs["lexicon_starts"])
        replaced["lexicon_ids"] = inputs["lexicon_ids"] * is_whole
    return replaced


class WeightedRidge:
    """Weighted least squares with an intercept and a penalty on the coefficients, solved in float64.

    Has the two methods that captum needs of an interpretable model; captum's own models need scikit-learn.

    Args:
        penalty: on the squared coefficients, relative to the mean weight of a sample; not on the intercept.
    """

    def __init__(self, penalty: float = 0.0):
        self.penalty = penalty
        self._coefficients: Tensor | None = None

    def fit(self, batches: Iterable[tuple[Tensor, Tensor, Tensor]], **_: object) -> dict[str, float]:
        """Fit batches of (features (samples, units), values (samples,), weights (samples,))."""
        features, values, weights = (torch.cat(parts).double() for parts in zip(*batches))
        roots = weights.sqrt()[:, None]
        design = torch.cat((features, torch.ones_like(features[:, :1])), 1)
        penalty = torch.full((design.shape[1],), self.penalty * float(weights.mean()), dtype=torch.float64)
        penalty[-1] = 0.0
        design = torch.cat((roots * design, penalty.sqrt().diag()))
        values = torch.cat((roots * values.view(-1, 1), torch.zeros(len(penalty), 1, dtype=torch.float64)))
        self._coefficients = torch.linalg.lstsq(design, values, driver="gelsd").solution[:-1, 0]
        return {}

    def representation(self) -> Tensor:
        """Return the coefficients of the features, (1, units) float32."""
        return self._coefficients.float()[None]


class SamplingExplainer(RowExplainer):
    """Fits a linear model to the target of texts with random sets of hidden units.

    Scores are signed; those of words are split equally over their characters. Every entity starts from the same seed,
    so scores do not depend on the other texts and entities of the call. Matched words of the lexicon have no scores of
    their own: they are hidden with their characters.

    Args:
        tagger, target, batch_size, context: as for `LocalExplainer`; samples of a row share a forward pass.
        n_samples: perturbed texts per entity; more samples make the scores of different seeds agree better.
        seed: of the samples.
        units: ``characters`` (tokens of a sub-word tokenizer), ``lexicon-words`` or ``words``, see `UNITS`.

    Raises:
        ValueError: as for `LocalExplainer`, unknown units, lexicon words without a lexicon, or fewer than 2 samples.
    """

    def __init__(
        self,
        tagger: Tagger,
        target: str = "label",
        batch_size: int = DEFAULT_BATCH_SIZE,
        n_samples: int = 500,
        seed: int = 0,
        units: str = "characters",
        context: int | None = DEFAULT_CONTEXT,
    ):
        super().__init__(tagger, target, batch_size, context)
        check_count(n_samples, "n_samples", 2)
        check_units(units, tagger.tokenizer)
        self.n_samples, self.seed, self.units = n_samples, seed, units

    def _attribute_row(self, row: TokenBatch, places: Sequence[EntityTokens]) -> list[Attribution]:
        at_once = self.tagger.rows_at_once(row.is_text.shape[1], self.batch_size)
        masking = Masking(self.tagger, self.target, row, self.units, places, at_once)
        whole, log_probs = masking.whole()
        cache = _TargetCache(masking)
        details = {"n_samples": self.n_samples, "seed": self.seed, "units": self.units}
        return [
            Attribution(
                masking.shared_over_tokens(self._unit_scores(masking, cache, number, place)),
                None,
                float(whole[number]),
                log_probs,
                details,
            )
            for number, place in enumerate(places)
        ]

    def _unit_scores(self, masking: Masking, cache: _TargetCache, number: int, place: EntityTokens) -> Tensor:
        if masking.count == 1:  # nothing to sample
            both = cache.values(torch.tensor([[1.0], [0.0]]), number)
            return both[:1] - both[1:]
        own = masking.token_units[place.start : place.end].unique()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            coefficients = self._sampler(cache, number, own[own >= 0]).attribute(
                torch.ones(1, masking.count),
                baselines=torch.zeros(1, masking.count),
                n_samples=self.n_samples,
                perturbations_per_eval=self.batch_size,
                return_input_shape=False,
            )
        return coefficients[0].float()

    @abstractmethod
    def _sampler(self, cache: _TargetCache, number: int, own: Tensor) -> CaptumLime:
        """Return captum's method for entity `number`, which covers the units `own`."""


class _TargetCache:
    """Target values by set of visible units, computed once for all entities."""

    def __init__(self, masking: Masking):
        self._masking = masking
        self._values: dict[bytes, Tensor] = {}

    def values(self, kept: Tensor, number: int) -> Tensor:
        """Return values (samples,) of entity `number` for sets of units given as 0/1 (samples, units)."""
        sets = kept.bool().cpu()
        keys = [units.numpy().tobytes() for units in sets]
        missing = {key: row for row, key in enumerate(keys) if key not in self._values}
        if missing:
            self._values.update(zip(missing, self._masking.scores(sets[list(missing.values())])))
        return torch.stack([self._values[key][number] for key in keys])


class KernelShap(SamplingExplainer):
    """KernelSHAP (Lundberg and Lee 2017) by captum; entities of a sentence share the perturbed texts.

    Below about 2,000 samples, the top tokens change with the seed (Yang et al. 2023, arXiv 2305.19998).
    """

    name = "kernel-shap"

    def __init__(self, *args: Any, n_samples: int = 2000, **kwargs: Any):
        super().__init__(*args, n_samples=n_samples, **kwargs)

    def _sampler(self, cache: _TargetCache, number: int, own: Tensor) -> CaptumKernelShap:
        from captum.attr import KernelShap as CaptumKernelShap  # 34 MiB with what it imports

        sampler = CaptumKernelShap(lambda kept: cache.values(kept, number))
        sampler.interpretable_model = WeightedRidge()
        return sampler


class Lime(SamplingExplainer):
    """LIME (Ribeiro et al. 2016) by captum, with the kernel of its authors' text explainer.

    Each unit is hidden with probability 1/2, but half of the samples keep the entity's own characters: otherwise few
    samples would be informative about its context. The weight of a sample is sqrt(exp(-D^2 / width^2)) with D the
    cosine distance between the sets of units.

    Args:
        tagger, target, batch_size, n_samples, seed, units: as for `SamplingExplainer`.
        kernel_width: of the sample weights.
        penalty: of the ridge regression (see `WeightedRidge`).

    Raises:
        ValueError: as for `SamplingExplainer`, a kernel width that is not positive, or a negative penalty.
    """

    name = "lime"

    def __init__(self, *args: Any, kernel_width: float = 0.25, penalty: float = 1.0, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if not kernel_width > 0 or not penalty >= 0:
            raise ValueError(
                f"kernel_width must be positive and penalty not negative, found {kernel_width!r} and {penalty!r}"
            )
        self.kernel_width, self.penalty = kernel_width, penalty

    def _sampler(self, cache: _TargetCache, number: int, own: Tensor) -> CaptumLime:
        from captum.attr import Lime as CaptumLime

        def perturb(text: Tensor, **_: Any) -> Iterator[Tensor]:
            while True:
                kept = torch.rand_like(text) < 0.5
                kept[:, own] |= bool(torch.rand(()) < 0.5)
                yield kept.long()

        return CaptumLime(
            lambda kept: cache.values(kept, number),
            interpretable_model=WeightedRidge(self.penalty),
            similarity_func=self._similarity,
            perturb_func=perturb,
        )

    def _similarity(self, text: Tensor, sample: Tensor, kept: Tensor, **_: Any) -> Tensor:
        distance = 1 - (kept.float().mean()).sqrt()  # cosine distance of a 0/1 vector to all ones
        return torch.exp(-(distance**2) / (2 * self.kernel_width**2))
