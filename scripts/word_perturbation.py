"""Does it help to move the word vectors of m-dscmg as well? Development text, as the settings were chosen.

    python scripts/word_perturbation.py --data FOLDER [--work runs/words] [--seeds 3]

Guided training moves the character vectors of a window along the gradient of its last visit. Here the vectors of the
window's lexicon words move too, along theirs: the same probability, size and ramp, the norm per word in norms of a mean
word vector; in a control random directions of words do. The options are those of `scripts/comparison.py`; records go to
a subfolder of `--work` for each variant, runs that have one are skipped, and the report is printed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from trainer_variants import Variant, parse, run_variants

from hf_adner.comparison.rendering import report_markdown
from hf_adner.comparison.report import ComparisonReport
from hf_adner.guided.batches import WINDOW
from hf_adner.guided.global_direction import unit
from hf_adner.guided.perturbation import draw
from hf_adner.guided.trainer import ExplanationGuidedTrainer, GuidedBatch


class WordPerturbingTrainer(ExplanationGuidedTrainer):
    """Guided training that also moves the word vectors of a window, along the gradient of its last visit.

    What is remembered is kept in memory alone, so that runs cannot be resumed.
    """

    is_random = False
    """Whether words move in random directions."""

    def __init__(self, *args: Any, **settings: Any):
        super().__init__(*args, **settings)
        self.directions: dict[int, Tensor] = {}  # window -> (words, size)
        self._vectors: Tensor | None = None
        self.table = self.model.adner.dual_stream.lexicon.word_embeddings
        self.mean_norm = float(self.table.weight[1:].detach().norm(dim=1).mean())
        self.table.register_forward_hook(self._move_words)

    def _move_words(self, _: torch.nn.Module, __: Any, vectors: Tensor) -> Tensor | None:
        """Add the offsets to the output of the word table, (batch, words, size), in a training pass."""
        if self._visited is None or not torch.is_grad_enabled():
            return None
        moved = vectors + self._word_offset(self._visited[0], vectors.detach())
        moved.retain_grad()
        self._vectors = moved
        return moved

    def _word_offset(self, batch: GuidedBatch, vectors: Tensor) -> Tensor:
        offset = torch.zeros_like(vectors)
        ramp = self.args.ramp(self.state.global_step, self.state.max_steps)
        for row, window in enumerate(batch.windows):
            known = self.directions.get(window)
            moves = draw(self.args.seed, "visit", self.epoch, window).random() < self.args.stability_share
            if known is None or not moves or not len(known):
                continue
            if self.is_random:
                seed = draw(self.args.seed, "words", self.epoch, window).getrandbits(62)
                noise = torch.randn(known.shape, generator=torch.Generator().manual_seed(seed))
                known = unit(noise[:, None])[:, 0] * known.norm(dim=1, keepdim=True)
            size = ramp * self.args.perturbation_size * self.mean_norm * len(known) ** 0.5
            offset[row, : len(known)] = size * unit(known[None])[0]
        return offset

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Do a step, and remember the gradients at the words."""
        windows, counts = inputs[WINDOW].tolist(), (inputs["lexicon_ids"] > 0).sum(1).tolist()
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self._vectors is not None and self._vectors.grad is not None:
            for row, (window, count) in enumerate(zip(windows, counts)):
                self.directions[window] = self._vectors.grad[row, :count].clone()
        self._vectors = None
        return loss


class RandomWordTrainer(WordPerturbingTrainer):
    """The control: words move in random directions, with the norms that their gradients have."""

    is_random = True


VARIANTS = {
    "plain": Variant("plain"),
    "full": Variant(),
    "words": Variant(trainer=WordPerturbingTrainer),
    "random-words": Variant(trainer=RandomWordTrainer),
}


def main() -> None:
    """Do the missing runs of every variant, then report."""
    args = parse("runs/words")
    args.models = ["m-dscmg"]
    print(report_markdown(ComparisonReport.of(run_variants(VARIANTS, args), "plain", "words"), level=3))


if __name__ == "__main__":
    main()
