"""Whether a small learned head on an encoder's states beats the rules of assertion.

The head is five logistic regressions on the means of the frozen encoder's states over the entity, its clause and its
sentence; a second one also reads the answers of the rules. Both are trained on invented notes of ad-synthetic and on
the development half of the record lines in tests/model/assertion, on which the strength of their regularisation is
cross-validated by document.

Then rules and heads are scored, once, on the other half, and with `--data FOLDER` on the real lines in
`ad_real/assertion` there, which nothing was trained on. Body sites and tests are left out.

    python scripts/assertion_head.py --encoder runs/quickstart/model --data FOLDER
    python scripts/assertion_head.py --encoder FOLDER/encoders/e5-small-zh-char --layers 4 --data FOLDER
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Document, read_documents
from hf_adner.data.assertion import ASSERTION, gold_assertions
from hf_adner.data.splits import groups_of, k_folds
from hf_adner.data.synthetic import DEFAULT_SIZES, generate_corpus
from hf_adner.files import write_json
from hf_adner.model.assertion_adner import AssertionRules
from hf_adner.model.assertion_table_adner import ATTRIBUTES
from hf_adner.reporting import markdown_table

LINES = Path(__file__).resolve().parents[1] / "tests" / "model" / "assertion"
LEFT_OUT = ("BodySite", "Test")
DECAYS = (1e-4, 1e-3, 1e-2)
RESAMPLES = 2000
RULES, STATES, STACKED = "rules", "states", "states and rules"


class Data(NamedTuple):
    """The entities of documents that are scored.

    Attributes:
        documents: number of the document of each, (entities,).
        states: features of the encoder, (entities, features).
        rules, gold: 1 where an attribute holds by the rules, and by the annotation, (entities, attributes).
    """

    documents: np.ndarray
    states: torch.Tensor
    rules: torch.Tensor
    gold: torch.Tensor

    def of(self, documents: Sequence[int]) -> Data:
        """Return the entities of some documents."""
        chosen = np.isin(self.documents, documents)
        return Data(self.documents[chosen], *(side[torch.from_numpy(chosen)] for side in self[1:]))

    def features(self, system: str) -> torch.Tensor:
        """Return what a system reads of each entity."""
        return torch.cat((self.states, self.rules), 1) if system == STACKED else self.states


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--encoder", required=True, help="a checkpoint of this package, or an encoder")
    parser.add_argument("--layers", type=int, help="layers of an encoder to use, default all")
    parser.add_argument("--documents", type=int, default=1500, help="of ad-synthetic, split assertion")
    parser.add_argument("--data", type=Path, help="folder with ad_real/, which is not part of this project")
    parser.add_argument("--output", type=Path, help="write the figures there as JSON")
    args = parser.parse_args()
    encode = encoder_states(args.encoder, args.layers)
    sizes = {**dict.fromkeys(DEFAULT_SIZES, 0), "assertion": args.documents}
    synthetic = gathered(generate_corpus(sizes=sizes)["assertion"], encode)
    lines = list(read_documents(LINES / "development.jsonl"))
    development = gathered(lines, encode)
    folds = list(k_folds(groups_of(lines), 5))
    heads, figures = {}, {}
    for system in (STATES, STACKED):
        f1 = {decay: cross_validated(system, synthetic, development, folds, decay) for decay in DECAYS}
        best = max(f1, key=f1.__getitem__)
        heads[system] = fit_head([synthetic, development], system, best)
        figures[f"development, {system}"] = {str(decay): value for decay, value in f1.items()}
        print(f"{system}: micro F1 by cross-validation {f1[best]:.3f}, decay {best:g}")
    sets = {"held-out record lines": list(read_documents(LINES / "held_out.jsonl"))}
    if args.data is not None:
        sets["real lines"] = real_lines(args.data / "ad_real")
    for name, documents in sets.items():
        data = gathered(documents, encode)
        answers = {RULES: data.rules} | {system: head(data.features(system)) for system, head in heads.items()}
        figures[name] = scores(data, answers)
        print(f"\n{table(name, figures[name])}")
    if args.output is not None:
        write_json(args.output, figures)


# ---- data -----------------------------------------------------------------------------------------------------------


def real_lines(folder: Path) -> list[Document]:
    """Return the lines with the attributes of their entities, which stand in files of their own."""
    found = []
    for split in ("train", "dev"):
        documents = list(read_documents(folder / f"{split}.jsonl"))
        rows = (folder / "assertion" / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        for row in map(json.loads, rows):
            document, holds = documents[row["line"]], row["attributes"]
            entities = [
                replace(entity, meta={ASSERTION: sorted(holds.get(str(number), []))})
                for number, entity in enumerate(document.entities)
            ]
            found.append(replace(document, id=f"{split}-{row['line']}", entities=tuple(entities)))
    return found


def gathered(documents: Sequence[Document], encode: Callable[[str], torch.Tensor]) -> Data:
    """Return the entities of documents, without those of the labels left out."""
    rows: list[tuple[int, torch.Tensor, list[float], list[float]]] = []
    rules = AssertionRules.standard()
    for number, document in enumerate(documents):
        states = encode(document.text)
        found = rules(document.text, document.spans)
        for entity, cues, holds in zip(document.entities, found, gold_assertions(document, LEFT_OUT), strict=True):
            if entity.label not in LEFT_OUT:
                sides = [cue.attribute for cue in cues], holds
                flags = [[float(name in side) for name in ATTRIBUTES] for side in sides]
                rows.append((number, features(states, document.text, entity.start, entity.end), *flags))
    numbers, states, ruled, gold = zip(*rows)
    return Data(np.asarray(numbers), torch.stack(states), torch.tensor(ruled), torch.tensor(gold))


def features(states: torch.Tensor, text: str, start: int, end: int) -> torch.Tensor:
    """Return the means of the states over an entity, its clause and its sentence."""
    parts = [(start, end), *(around(text, start, end, ends) for ends in ("[，,。；;！？!?\n]", "[。；;！？!?\n]"))]
    return torch.cat([states[first:last].mean(0) for first, last in parts])


def around(text: str, start: int, end: int, ends: str) -> tuple[int, int]:
    """Return the characters between the marks before and after an entity."""
    before = [match.end() for match in re.finditer(ends, text[:start])]
    after = re.search(ends, text[end:])
    return (before[-1] if before else 0), (end + after.start() if after else len(text))


def encoder_states(path: str, layers: int | None) -> Callable[[str], torch.Tensor]:
    """Return the function that gives the last states of an encoder, (characters, size)."""
    tokenizer, config = AdnerTokenizer.from_pretrained(path), AutoConfig.from_pretrained(path)
    if config.model_type == "adner":
        encoder = AdnerForTokenClassification.from_pretrained(path).adner.encoder
    else:
        config.num_hidden_layers = layers or config.num_hidden_layers
        encoder = AutoModel.from_pretrained(path, config=config, dtype=torch.float32)
    encoder.eval()

    @torch.no_grad()
    def encode(text: str) -> torch.Tensor:
        inputs = tokenizer(text, return_tensors="pt")
        return encoder(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state[
            0, 1:-1
        ]

    return encode


# ---- the head -------------------------------------------------------------------------------------------------------


def fit_head(data: Sequence[Data], system: str, decay: float) -> Callable[[torch.Tensor], torch.Tensor]:
    """Fit logistic regressions and return the function that answers with 0 and 1.

    Args:
        data: what is trained on.
        system: what is read of it.
        decay: of the squared weights in the loss.
    """
    inputs, gold = torch.cat([one.features(system) for one in data]), torch.cat([one.gold for one in data])
    mean, deviation = inputs.mean(0), inputs.std(0) + 1e-6
    inputs = (inputs - mean) / deviation
    linear = nn.Linear(inputs.shape[1], gold.shape[1])
    nn.init.zeros_(linear.weight)
    optimizer = torch.optim.LBFGS(linear.parameters(), max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(linear(inputs), gold)
        loss = loss + decay * linear.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return lambda given: (linear((given - mean) / deviation).detach() > 0).float()


def cross_validated(
    system: str, synthetic: Data, development: Data, folds: Sequence[tuple[list[int], list[int]]], decay: float
) -> float:
    """Return the micro F1 over the development lines, each by a head that has not seen it."""
    counts = np.zeros(3)
    for inner, outer in folds:
        held_out = development.of(outer)
        head = fit_head([synthetic, development.of(inner)], system, decay)
        counts += counted(head(held_out.features(system)), held_out.gold).sum((0, 1))
    return float(f1_of(counts))


# ---- scores ---------------------------------------------------------------------------------------------------------


def counted(answers: torch.Tensor, gold: torch.Tensor) -> np.ndarray:
    """Return correct, predicted and gold, (entities, attributes, 3)."""
    return torch.stack((answers * gold, answers, gold), 2).double().numpy()


def f1_of(counts: np.ndarray) -> np.ndarray:
    """Return F1 of counts (..., 3); 0 where there is nothing to find and nothing was found."""
    return 2 * counts[..., 0] / np.maximum(counts[..., 1] + counts[..., 2], 1)


def scores(data: Data, answers: dict[str, torch.Tensor], seed: int = 0) -> dict[str, dict[str, list[float]]]:
    """Return F1 with a 95 % interval from drawing documents: per system and attribute, micro, and against the rules."""
    ids, places = np.unique(data.documents, return_inverse=True)
    draws = np.random.default_rng(seed).multinomial(len(ids), np.full(len(ids), 1 / len(ids)), RESAMPLES)
    draws = np.concatenate((np.ones((1, len(ids)), int), draws))  # the first: every document once
    found: dict[str, np.ndarray] = {}
    for system, given in answers.items():
        by_document = np.zeros((len(ids), len(ATTRIBUTES), 3))
        np.add.at(by_document, places, counted(given, data.gold))
        drawn = np.einsum("rd,dac->rac", draws, by_document)
        found[system] = f1_of(np.concatenate((drawn, drawn.sum(1, keepdims=True)), 1))
    rows = {}
    for system, drawn in found.items():
        columns = dict(zip((*ATTRIBUTES, "all, micro"), drawn.T))
        columns["micro, minus rules"] = drawn[:, -1] - found[RULES][:, -1]
        rows[system] = {
            name: [float(values[0]), *np.percentile(values[1:], (2.5, 97.5)).tolist()]
            for name, values in columns.items()
        }
    rows["gold"] = {name: [float(number)] for name, number in zip(ATTRIBUTES, data.gold.sum(0))}
    rows["gold"]["all, micro"] = [float(data.gold.sum())]
    return rows


def table(name: str, rows: dict[str, dict[str, list[float]]]) -> str:
    """Return the scores as a Markdown table with a row per attribute."""
    systems = [system for system in rows if system != "gold"]
    lines = []
    for attribute in rows[RULES]:
        gold = rows["gold"].get(attribute, [None])[0]
        scored = ["{:.3f} [{:.3f}, {:.3f}]".format(*rows[system][attribute]) for system in systems]
        lines.append((attribute, gold and f"{gold:.0f}", *(scored if gold != 0 else [None] * len(systems))))
    return markdown_table((f"F1, {name}", "gold", *systems), lines)


if __name__ == "__main__":
    main()
