"""Time AdnerCRF against torchcrf.CRF: loss forward and backward, decoding dense and with BIOES constraints.

    python scripts/benchmarks/crf.py [--repeats 15] [--threads 2]

Both sides run in turns in one process, after their results were found equal; the figure is the median, over the turns,
of torchcrf's time divided by ours. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
import torchcrf

from hf_adner.model.crf_adner import AdnerCRF
from hf_adner.model.labels_adner import allowed_transitions, state_names

SHAPES = ((32, 128, 21), (16, 256, 37))  # batch, length, states
GOALS = {"loss forward + backward": 3.0, "decode, dense": 1.5, "decode, BIOES": 2.0}


class Contest(NamedTuple):
    """Two ways to the same result, and a check that it is the same."""

    name: str
    shape: tuple[int, int, int]
    theirs: Callable[[], object]
    ours: Callable[[], object]
    check: Callable[[], None]


def make_pair(states: int, constrained: bool) -> tuple[torchcrf.CRF, AdnerCRF]:
    """Return both CRFs with equal scores; torchcrf gets the constraints as -1e6 in its parameters."""
    names = state_names([f"type-{index}" for index in range((states - 1) // 4)], "bioes")
    ours = AdnerCRF(states, allowed_transitions(names) if constrained else None)
    theirs = torchcrf.CRF(states, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    if constrained:
        with torch.no_grad():
            theirs.start_transitions += ours.start_penalties
            theirs.end_transitions += ours.end_penalties
            theirs.transitions += ours.transition_penalties
    return theirs, ours


def make_batch(shape: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return emissions, tags and a ragged mask (rows from half to full length)."""
    batch, length, states = shape
    emissions = torch.randn(shape, requires_grad=True)
    lengths = torch.linspace(length / 2, length, batch).long()
    return emissions, torch.randint(states, (batch, length)), torch.arange(length) < lengths.unsqueeze(1)


def loss_contest(shape: tuple[int, int, int]) -> Contest:
    """Negative log-likelihood of unconstrained CRFs and its gradient for emissions and parameters."""
    theirs, ours = make_pair(shape[2], constrained=False)
    emissions, tags, mask = make_batch(shape)

    def gradients(crf: torchcrf.CRF) -> list[torch.Tensor]:
        loss = -crf(emissions, tags, mask, reduction="mean")
        return [loss.detach(), *torch.autograd.grad(loss, [emissions, *crf.parameters()])]

    def check() -> None:
        for theirs_value, our_value in zip(gradients(theirs), gradients(ours)):
            torch.testing.assert_close(our_value, theirs_value, rtol=1e-4, atol=1e-4)

    return Contest("loss forward + backward", shape, lambda: gradients(theirs), lambda: gradients(ours), check)


def decode_contest(shape: tuple[int, int, int], constrained: bool) -> Contest:
    """Best paths as lists."""
    theirs, ours = make_pair(shape[2], constrained)
    emissions, _, mask = make_batch(shape)
    emissions = emissions.detach()

    def check() -> None:
        if theirs.decode(emissions, mask) != ours.decode(emissions, mask):
            raise AssertionError("the decoded paths differ")

    name = "decode, BIOES" if constrained else "decode, dense"
    with torch.no_grad():
        return Contest(name, shape, lambda: theirs.decode(emissions, mask), lambda: ours.decode(emissions, mask), check)


def elapsed(run: Callable[[], object]) -> float:
    """Return the milliseconds that one call takes."""
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1e3


def compete(contest: Contest, repeats: int) -> str:
    """Check, warm up, run in turns and return a table row."""
    contest.check()
    contest.theirs(), contest.ours()
    turns = [(elapsed(contest.theirs), elapsed(contest.ours)) for _ in range(repeats)]
    theirs, ours = (statistics.median(side) for side in zip(*turns))
    ratio = statistics.median(first / second for first, second in turns)
    batch, length, states = contest.shape
    goal = GOALS[contest.name]
    return (
        f"| {contest.name} | {batch} x {length} x {states} | {theirs:.1f} | {ours:.1f} "
        f"| {ratio:.1f}x | {goal:.1f}x | {'yes' if ratio >= goal else 'NO'} |"
    )


def main() -> None:
    """Run every contest and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15, help="turns per contest (default 15)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default 2)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print("| what | batch x length x states | torchcrf, ms | AdnerCRF, ms | ratio | goal | met |")
    print("|---|---|---|---|---|---|---|")
    for shape in SHAPES:
        contests = (loss_contest(shape), decode_contest(shape, False), decode_contest(shape, True))
        for contest in contests:
            print(compete(contest, arguments.repeats), flush=True)


if __name__ == "__main__":
    main()
