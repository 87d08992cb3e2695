"""How close ad-synthetic comes to real dermatology text; prints the numbers of its data card (`pytest -m data -s`)."""

import json
import math
from collections import Counter
from itertools import chain

import pytest

from hf_adner.data.synthetic import generate_corpus
from hf_adner.data.synthetic.vocabulary import Vocabulary

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def synthetic():
    return generate_corpus(0, {"test_unseen": 0, "contrast": 0})["train"]


@pytest.fixture(scope="module")
def annotated(data_dir):
    path = data_dir / "ad_real" / "train.jsonl"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {path.parent.name}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def raw_lines(data_dir):
    path = data_dir / "unlabelled" / "dermatology_lines.txt"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {path.parent.name}")
    return path.read_text(encoding="utf-8").split()


def ngrams(texts, size):
    return Counter(chain.from_iterable((t[i : i + size] for i in range(len(t) - size + 1)) for t in texts))


def divergence(left, right):
    """Jensen-Shannon divergence in bits: 0 for equal distributions, 1 for disjoint ones."""
    totals, bits = (left.total(), right.total()), 0.0
    for gram in left.keys() | right.keys():
        shares = [counts[gram] / total for counts, total in zip((left, right), totals, strict=True)]
        mean = sum(shares) / 2
        bits += sum(share / 2 * math.log2(share / mean) for share in shares if share)
    return bits


def surfaces(annotated):
    return [d["text"][e["start"] : e["end"]] for d in annotated for e in d["entities"]]


def test_most_real_entities_are_terms(annotated, synthetic):
    found = surfaces(annotated)
    terms = Vocabulary.default().expanded(10**6)
    generated = {e.text for d in synthetic for e in d.entities}
    share = sum(s in terms for s in found) / len(found)
    seen = sum(s in generated for s in found) / len(found)
    print(f"\nreal mentions among the terms {share:.3f}, in the default train {seen:.3f}")
    assert share > 0.7


def test_entities_are_as_dense_as_in_real_text(annotated, synthetic):
    real = 100 * len(surfaces(annotated)) / sum(len(d["text"]) for d in annotated)
    made = 100 * sum(len(d.entities) for d in synthetic) / sum(len(d.text) for d in synthetic)
    print(f"\nentities per 100 characters: real {real:.1f}, synthetic {made:.1f}")
    assert 0.7 < made / real < 1.4


def test_characters_are_distributed_as_in_real_text(raw_lines, synthetic):
    texts = [d.text for d in synthetic]
    for size, limit in ((1, 0.15), (2, 0.5)):
        made = divergence(ngrams(texts, size), ngrams(raw_lines, size))
        floor = divergence(ngrams(raw_lines[::2], size), ngrams(raw_lines[1::2], size))
        print(f"\n{size}-gram divergence: synthetic to real {made:.3f}, real half to real half {floor:.3f}")
        assert made < limit


def test_no_real_line_is_repeated(annotated, raw_lines, synthetic):
    real = {d["text"] for d in annotated} | set(raw_lines)
    assert not [d.text for d in synthetic if d.text in real and len(d.text) > 12]
