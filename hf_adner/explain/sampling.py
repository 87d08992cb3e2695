"""LIME and KernelSHAP: captum's samplers over sets of hidden units."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from captum.attr import KernelShap as CaptumKernelShap
from captum.attr import Lime as CaptumLime
from torch import Tensor

from hf_adner.explain.explainer import Attribution, LocalExplainer, Places
from hf_adner.explain.masking import Masking
from hf_adner.explain.surrogate import WeightedRidge
from hf_adner.explain.tagger import Tagger, TokenBatch
from hf_adner.explain.targets import EntityTokens
from hf_adner.explain.units import check_units


class SamplingExplainer(LocalExplainer):
    """Fits a linear model to the target of texts in which random sets of units are hidden.

    Scores are signed, those of words split equally over their characters. Every entity starts from the same seed, so
    that a text explained alone and among others has the same scores. Matched words of the lexicon have no scores of
    their own: they go with their characters.

    Args:
        tagger, target, batch_size: as for `LocalExplainer`; `batch_size` samples share a forward pass.
        n_samples: perturbed texts per entity; the scores of different seeds agree better the more there are.
        seed: of the samples.
        units: see `Occlusion`.

    Raises:
        ValueError: as for `Occlusion`, or fewer than 2 samples.
    """

    def __init__(
        self,
        tagger: Tagger,
        target: str = "label",
        batch_size: int = 16,
        n_samples: int = 500,
        seed: int = 0,
        units: str = "characters",
    ):
        super().__init__(tagger, target, batch_size)
        if isinstance(n_samples, bool) or not isinstance(n_samples, int) or n_samples < 2:
            raise ValueError(f"n_samples must be an integer of 2 or more, found {n_samples!r}")
        check_units(units, tagger.tokenizer)
        self.n_samples, self.seed, self.units = n_samples, seed, units

    def _attribute(self, batch: TokenBatch, places: Places) -> list[list[Attribution]]:
        return [
            self._attribute_row(batch.row(row), [place._replace(row=0) for place in ones])
            for row, ones in enumerate(places)
        ]

    def _attribute_row(self, row: TokenBatch, places: Sequence[EntityTokens]) -> list[Attribution]:
        masking = Masking(self.tagger, self.target, row, self.units, places, self.batch_size)
        whole, log_probs = masking.whole()
        answers = _Answers(masking)
        details = {"n_samples": self.n_samples, "seed": self.seed, "units": self.units}
        return [
            Attribution(
                masking.shared_over_tokens(self._unit_scores(masking, answers, number, place)),
                None,
                float(whole[number]),
                log_probs,
                details,
            )
            for number, place in enumerate(places)
        ]

    def _unit_scores(self, masking: Masking, answers: _Answers, number: int, place: EntityTokens) -> Tensor:
        if masking.count == 1:  # nothing to sample: the one unit made the whole difference
            both = answers.of(torch.tensor([[1.0], [0.0]]), number)
            return both[:1] - both[1:]
        own = masking.token_units[place.start : place.end].unique()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            coefficients = self._sampler(answers, number, own[own >= 0]).attribute(
                torch.ones(1, masking.count),
                baselines=torch.zeros(1, masking.count),
                n_samples=self.n_samples,
                perturbations_per_eval=self.batch_size,
                return_input_shape=False,
            )
        return coefficients[0].float()

    @abstractmethod
    def _sampler(self, answers: _Answers, number: int, own: Tensor) -> CaptumLime:
        """captum's method for entity `number`, whose own units are `own`."""


class _Answers:
    """Target values of sets of units, asked of the model once for all entities."""

    def __init__(self, masking: Masking):
        self._masking = masking
        self._known: dict[bytes, Tensor] = {}

    def of(self, kept: Tensor, number: int) -> Tensor:
        """Values of entity `number`, (samples,), for sets given as 0/1 (samples, units)."""
        sets = kept.bool().cpu()
        keys = [one.numpy().tobytes() for one in sets]
        unknown = {key: place for place, key in enumerate(keys) if key not in self._known}
        if unknown:
            self._known.update(zip(unknown, self._masking.scores(sets[list(unknown.values())])))
        return torch.stack([self._known[key][number] for key in keys])


class KernelShap(SamplingExplainer):
    """KernelSHAP (Lundberg and Lee 2017) by captum; entities of a sentence share the perturbed texts.

    Its top tokens change with the seed below some 2,000 samples (Yang et al. 2023, arXiv 2305.19998).
    """

    name = "kernel-shap"

    def __init__(
        self,
        tagger: Tagger,
        target: str = "label",
        batch_size: int = 16,
        n_samples: int = 2000,
        seed: int = 0,
        units: str = "characters",
    ):
        super().__init__(tagger, target, batch_size, n_samples, seed, units)

    def _sampler(self, answers: _Answers, number: int, own: Tensor) -> CaptumKernelShap:
        sampler = CaptumKernelShap(lambda kept: answers.of(kept, number))
        sampler.interpretable_model = WeightedRidge()
        return sampler


class Lime(SamplingExplainer):
    """LIME (Ribeiro et al. 2016) by captum, with the kernel of its authors' text explainer.

    Each unit is hidden with probability 1/2, but in half of the samples the entity's own characters are kept: else few
    samples would say anything of its context. The similarity of a sample is sqrt(exp(-D^2 / width^2)), D being the
    cosine distance between the sets of units.

    Args:
        tagger, target, batch_size, n_samples, seed, units: as for `SamplingExplainer`.
        kernel_width: of the similarity.
        penalty: of the ridge regression (see `WeightedRidge`).

    Raises:
        ValueError: as for `SamplingExplainer`, or a kernel width that is not positive or a negative penalty.
    """

    name = "lime"

    def __init__(
        self,
        tagger: Tagger,
        target: str = "label",
        batch_size: int = 16,
        n_samples: int = 500,
        seed: int = 0,
        units: str = "characters",
        kernel_width: float = 0.25,
        penalty: float = 1.0,
    ):
        super().__init__(tagger, target, batch_size, n_samples, seed, units)
        if not kernel_width > 0 or not penalty >= 0:
            raise ValueError(
                f"kernel_width must be positive and penalty not negative, found {kernel_width!r} and {penalty!r}"
            )
        self.kernel_width, self.penalty = kernel_width, penalty

    def _sampler(self, answers: _Answers, number: int, own: Tensor) -> CaptumLime:
        def perturb(text: Tensor, **_: Any) -> Iterator[Tensor]:
            while True:
                kept = torch.rand_like(text) < 0.5
                kept[:, own] |= bool(torch.rand(()) < 0.5)
                yield kept.long()

        return CaptumLime(
            lambda kept: answers.of(kept, number),
            interpretable_model=WeightedRidge(self.penalty),
            similarity_func=self._similarity,
            perturb_func=perturb,
        )

    def _similarity(self, text: Tensor, sample: Tensor, kept: Tensor, **_: Any) -> Tensor:
        distance = 1 - (kept.float().mean()).sqrt()  # of a 0/1 vector to that of ones, by cosine
        return torch.exp(-(distance**2) / (2 * self.kernel_width**2))
