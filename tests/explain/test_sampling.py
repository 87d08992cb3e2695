"""LIME and KernelSHAP: exact Shapley values of a short text, seeds, and samples."""

import itertools
import math

import pytest
import torch

from hf_adner import make_explainer
from hf_adner.explain.removal import Masking
from hf_adner.explain.targets import Target
from hf_adner.explain.text_windows import Passage
from hf_adner.model.windows_adner import Window

TEXT, ENTITY = "红斑伴瘙", (0, 2, "Disease")


def values_of_sets(case, text, entity):
    tagger = case.tagger
    batch = tagger.encode([text], [Passage(0, Window(0, len(text)))])
    place = batch.tokens_of(0, entity)
    masking = Masking(tagger, Target("label", tagger.labels), batch, "characters", [place], 64)
    sets = list(itertools.product([False, True], repeat=masking.count))
    return dict(zip(sets, masking.scores(torch.tensor(sets))[:, 0].tolist()))


def shapley(values):
    count = len(next(iter(values)))
    scores = [0.0] * count
    for kept, value in values.items():
        for unit in range(count):
            if not kept[unit]:
                size = sum(kept)
                weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
                gained = values[tuple(one or place == unit for place, one in enumerate(kept))] - value
                scores[unit] += weight * gained
    return scores


def test_kernel_shap_nears_the_shapley_values(build):
    case = build("m-dscmg")
    expected = shapley(values_of_sets(case, TEXT, ENTITY))
    ((one,),) = make_explainer("kernel-shap", case.model, case.tokenizer, n_samples=3000)([TEXT], [[ENTITY]])
    spread = max(map(abs, expected))
    assert one.scores == pytest.approx(expected, abs=0.15 * spread)
    values = values_of_sets(case, TEXT, ENTITY)
    assert sum(one.scores) == pytest.approx(values[(True,) * 4] - values[(False,) * 4], abs=1e-3)


def test_lime_fits_the_samples_it_drew(build, monkeypatch):
    case = build("bert-crf")
    explain = make_explainer("lime", case.model, case.tokenizer, n_samples=400, penalty=0.0)
    ((one,),) = explain([TEXT], [[ENTITY]])
    again = make_explainer("lime", case.model, case.tokenizer, n_samples=400, penalty=0.0)([TEXT], [[ENTITY]])
    assert again[0][0].scores == one.scores
    other = make_explainer("lime", case.model, case.tokenizer, n_samples=400, penalty=0.0, seed=1)([TEXT], [[ENTITY]])
    assert other[0][0].scores != one.scores
    # in the limit: half of the samples are any of 16 sets, half one of the 4 that hold the entity
    values = values_of_sets(case, TEXT, ENTITY)
    sets = torch.tensor(list(values), dtype=torch.float64)
    probability = torch.tensor([0.5 / 16 + 0.5 / 4 * (kept[0] and kept[1]) for kept in values], dtype=torch.float64)
    similarity = torch.exp(-((1 - sets.mean(1).sqrt()) ** 2) / (2 * 0.25**2))
    roots = (probability * similarity).sqrt()[:, None]
    design = torch.cat((sets, torch.ones(len(sets), 1, dtype=torch.float64)), 1)
    goal = torch.tensor(list(values.values()), dtype=torch.float64)[:, None]
    expected = torch.linalg.lstsq(roots * design, roots * goal).solution[:-1, 0].tolist()
    assert one.scores == pytest.approx(expected, abs=0.15 * max(map(abs, expected)))


def test_entities_share_kernel_shaps_texts(build, monkeypatch):
    case = build("bert-crf")
    explain = make_explainer("kernel-shap", case.model, case.tokenizer, n_samples=50)
    rows = []
    tag = explain.tagger.tag
    monkeypatch.setattr(explain.tagger, "tag", lambda inputs: rows.append(len(inputs["input_ids"])) or tag(inputs))
    explain([case.texts[4]], [[(0, 2, "Drug")]])
    one, rows[:] = sum(rows), []
    explain([case.texts[4]], [[(0, 2, "Drug"), (3, 5, "Drug"), (6, 7, "Disease")]])
    assert sum(rows) == one <= 51


def test_a_text_of_one_character(build):
    case = build("bert-crf")
    for name in ("lime", "kernel-shap"):
        ((one,),) = make_explainer(name, case.model, case.tokenizer, n_samples=5)(["痒"], [[(0, 1, "Disease")]])
        values = values_of_sets(case, "痒", (0, 1, "Disease"))
        assert one.scores == pytest.approx([values[True,] - values[False,]], abs=1e-5)


def test_errors(build):
    case = build("bert-crf")
    for options, message in [
        ({"n_samples": 1}, "n_samples must be"),
        ({"units": "x"}, "units must be"),
        ({"kernel_width": 0}, "kernel_width must be positive"),
        ({"penalty": -1}, "penalty not negative"),
    ]:
        with pytest.raises(ValueError, match=message):
            make_explainer("lime", case.model, case.tokenizer, **options)
