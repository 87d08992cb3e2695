"""Tests of the ad-synthetic corpus; those of its similarity to real text print the numbers of its data card."""

import json
import math
import random
import unicodedata
from collections import Counter, defaultdict
from itertools import chain

import pytest

from hf_adner.data.assertion import gold_assertions
from hf_adner.data.synthetic import DEFAULT_SIZES, generate_corpus
from hf_adner.data.synthetic.corpus import Materials, read_pairs, read_plans, read_sections
from hf_adner.data.synthetic.grammar import (
    BOUNDARY,
    CUE_KINDS,
    HEAD,
    NAME,
    Call,
    Choice,
    Draft,
    Hint,
    Scene,
    Slot,
    parse_frame,
)
from hf_adner.data.synthetic.scene import make_person
from hf_adner.data.synthetic.vocabulary import LABELS, PROFILES, Vocabulary, VocabularyError
from hf_adner.model.assertion_table_adner import ATTRIBUTES

SMALL = {"train": 120, "validation": 20, "test": 20, "test_unseen": 20, "contrast": 40, "assertion": 130}


@pytest.fixture(scope="module")
def corpus():
    return generate_corpus(0, SMALL)


def all_documents(corpus):
    return [document for documents in corpus.values() for document in documents]


def test_same_seed_gives_the_same_documents(corpus):
    assert generate_corpus(0, SMALL) == corpus


def test_another_seed_gives_other_documents(corpus):
    assert generate_corpus(1, SMALL)["train"] != corpus["train"]


def test_sizes_are_kept(corpus):
    assert {split: len(documents) for split, documents in corpus.items()} == SMALL


def test_entities_are_exact_and_do_not_overlap(corpus):
    for document in all_documents(corpus):
        assert not document.has_overlaps
        assert all(document.text[e.start : e.end] == e.text for e in document.entities)


def test_no_text_occurs_twice(corpus):
    texts = [document.text for document in all_documents(corpus)]
    assert len(texts) == len(set(texts)) == sum(SMALL.values())


def test_default_splits_are_named():
    assert list(DEFAULT_SIZES) == ["train", "validation", "test", "test_unseen", "contrast", "assertion"]


def test_unknown_split_is_refused():
    with pytest.raises(ValueError, match="dev"):
        generate_corpus(0, {"dev": 3})


def test_negative_sizes_and_unseen_without_hold_out_are_refused():
    with pytest.raises(ValueError, match="negative"):
        generate_corpus(0, {"train": -1})
    with pytest.raises(ValueError, match="held-out"):
        generate_corpus(0, {"test_unseen": 1}, hold_out=False)


def test_without_hold_out_train_uses_every_term():
    sizes = {**dict.fromkeys(DEFAULT_SIZES, 0), "train": 400}
    vocabulary = Vocabulary.default()
    train = generate_corpus(0, sizes, hold_out=False)["train"]
    assert any(vocabulary.is_held_out(e.text) for d in train for e in d.entities)


def test_no_entity_of_test_unseen_occurs_in_train(corpus):
    train = "\n".join(d.text for d in corpus["train"])
    entities = [e.text for d in corpus["test_unseen"] for e in d.entities]
    assert entities and not [text for text in entities if text in train]


def test_every_entity_has_a_cue_and_every_cue_is_inside_the_text(corpus):
    for document in all_documents(corpus):
        cues = document.meta["cues"]
        assert {c["entity"] for c in cues} == set(range(len(document.entities)))
        for cue in cues:
            assert 0 <= cue["start"] < cue["end"] <= len(document.text)
            assert cue["kind"] in CUE_KINDS


def test_lexical_cues_are_inside_their_entity_and_others_outside(corpus):
    for document in all_documents(corpus):
        for cue in document.meta["cues"]:
            entity = document.entities[cue["entity"]]
            inside = entity.start <= cue["start"] and cue["end"] <= entity.end
            apart = cue["end"] <= entity.start or cue["start"] >= entity.end
            assert inside if cue["kind"] in (HEAD, NAME) else apart


def test_boundary_cues_touch_their_entity(corpus):
    pairs = [(c, d.entities[c["entity"]]) for d in corpus["train"] for c in d.meta["cues"] if c["kind"] == BOUNDARY]
    assert any(c["end"] == e.start for c, e in pairs) and any(c["start"] == e.end for c, e in pairs)
    assert all(c["end"] == e.start or c["start"] == e.end for c, e in pairs)


def test_distractors_are_not_entities(corpus):
    count = 0
    for document in all_documents(corpus):
        spans = {(e.start, e.end) for e in document.entities}
        for distractor in document.meta["distractors"]:
            count += 1
            assert (distractor["start"], distractor["end"]) not in spans
    assert count


def test_contrast_sides_differ_in_label_or_boundary(corpus):
    pairs = defaultdict(dict)
    for document in corpus["contrast"]:
        pairs[document.meta["pair"]][document.meta["side"]] = document
    assert len(pairs) == SMALL["contrast"] // 2
    for sides in pairs.values():
        outcomes = [sorted((e.text, e.label) for e in sides[side].entities) for side in ("a", "b")]
        assert outcomes[0] != outcomes[1], sides["a"].text


def test_sides_of_assertion_have_the_same_entities_of_which_other_things_hold(corpus):
    pairs = defaultdict(dict)
    for document in corpus["assertion"]:
        assert len(gold_assertions(document)) == len(document.entities)  # each of them is stated
        pairs[document.meta["pair"]][document.meta["side"]] = document
    assert len(pairs) == SMALL["assertion"] // 2
    for sides in pairs.values():
        assert [[(e.text, e.label) for e in sides[side].entities] for side in "a"] == [
            [(e.text, e.label) for e in sides[side].entities] for side in "b"
        ], sides["a"].text
        assert gold_assertions(sides["a"]) != gold_assertions(sides["b"]), sides["a"].text
    held = Counter(name for document in corpus["assertion"] for holds in gold_assertions(document) for name in holds)
    assert set(held) == set(ATTRIBUTES)


def test_only_the_split_of_assertion_states_attributes(corpus):
    entities = [e for split in SMALL if split != "assertion" for d in corpus[split] for e in d.entities]
    assert not any("assertion" in e.meta for e in entities)


def test_other_splits_are_those_of_a_corpus_without_it(corpus):
    without = generate_corpus(0, {**SMALL, "assertion": 0})
    assert {**corpus, "assertion": []} == without


def test_no_entity_has_punctuation_at_an_edge(corpus):
    for document in all_documents(corpus):
        for entity in document.entities:
            assert unicodedata.category(entity.text[0])[0] not in "PZ", entity
            assert unicodedata.category(entity.text[-1])[0] not in "PZ", entity


def test_some_documents_have_no_entities_and_all_labels_occur(corpus):
    documents = all_documents(corpus)
    assert any(not d.entities for d in documents)
    assert {e.label for d in documents for e in d.entities} == set(LABELS)


@pytest.fixture(scope="module", params=PROFILES)
def materials(request):
    """Materials of each profile."""
    return Materials.load(request.param)


def test_there_are_enough_frames_and_every_one_can_be_expanded(materials):
    frames = [frame for frames in materials.sections.values() for frame in frames]
    assert len(frames) >= 250
    topics = list(materials.topics.values())
    for index, frame in enumerate(frames):
        rng = random.Random(index)
        person = make_person(rng)
        phrases = person.phrases | {"dept": "皮肤科", "dept2": "儿科"}
        scene = Scene(rng, topics[index % len(topics)].slots, phrases, {})
        materials.grammar.expand(parse_frame(frame), scene, Draft())


def test_every_planned_section_has_frames(materials):
    assert {step[0] for plan in materials.plans for step in plan.steps} <= materials.sections.keys()


def test_every_slot_of_every_topic_names_a_group(materials):
    groups = materials.grammar.vocabulary.groups
    named = {group for t in materials.topics.values() for names, _ in t.slots.values() for group in names}
    assert named <= groups.keys()


def references(nodes):
    """Yield every slot and macro call in `nodes`, at any depth."""
    for node in nodes:
        match node:
            case Slot() | Call():
                yield node
            case Choice():
                yield from (reference for option in node.options for reference in references(option))
            case Hint():
                yield from references(node.body)


def test_every_slot_and_macro_named_in_a_frame_exists(materials):
    frames = [frame for frames in materials.sections.values() for frame in frames]
    frames += [pair.side(side) for pairs in materials.pairs.values() for pair in pairs for side in (0, 1)]
    nodes = [parse_frame(frame) for frame in frames] + [(macro,) for macro in materials.grammar.macros.values()]
    nodes_used = [reference for parsed in nodes for reference in references(parsed)]
    macros = materials.grammar.macros.keys() | make_person(random.Random(0)).phrases.keys() | {"dept", "dept2"}
    groups = materials.grammar.vocabulary.groups.keys()
    assert not {call.name for call in nodes_used if isinstance(call, Call)} - macros
    slots = {slot.name for slot in nodes_used if isinstance(slot, Slot) and not slot.name.startswith("=")}
    assert not [(s, t.name) for s in slots for t in materials.topics.values() if s not in groups | t.slots.keys()]
    assert all(slot.label or slot.plain for slot in nodes_used if isinstance(slot, Slot) and slot.name.startswith("="))


def test_plans_with_repeated_sections():
    (plan,) = read_plans("# comment\nnote 2 derm 0.5 a b? c* d+\n")
    assert plan.steps == (("a", 1, 1), ("b", 0, 1), ("c", 0, 2), ("d", 1, 2))
    drawn = [plan.sections(random.Random(seed)) for seed in range(40)]
    assert {len(sections) for sections in drawn} == {2, 3, 4, 5, 6}
    assert all(sections[0] == "a" and sections[-1] == "d" for sections in drawn)


def test_a_plan_without_sections_is_refused():
    with pytest.raises(VocabularyError, match="plans:1"):
        read_plans("note 2 derm 0.5\n")


def test_sections_have_one_frame_per_line():
    assert read_sections("[[a]]\n[x|y]\n# no\nz\n[[b]]\nw\n") == {"a": ["[x|y]", "z"], "b": ["w"]}


def test_a_frame_without_a_section_is_refused():
    with pytest.raises(VocabularyError, match="frames:1"):
        read_sections("x\n")


def test_a_template_has_two_sides():
    (pair,) = read_pairs("[[kind]]\n# no\n⟦多吃‖忌食⟧{food@a⟦!‖⟧}。\n")
    assert pair.kind == "kind"
    assert (pair.side(0), pair.side(1)) == ("多吃{food@a!}。", "忌食{food@a}。")


def test_a_template_without_a_difference_is_refused():
    with pytest.raises(ValueError, match="difference"):
        read_pairs("[[kind]]\n多吃{food}\n")


@pytest.fixture(scope="module")
def synthetic():
    return generate_corpus(0, {"test_unseen": 0, "contrast": 0, "assertion": 0})["train"]


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
    """Jensen-Shannon divergence in bits: 0 for equal distributions, 1 for disjoint distributions."""
    totals, bits = (left.total(), right.total()), 0.0
    for gram in left.keys() | right.keys():
        shares = [counts[gram] / total for counts, total in zip((left, right), totals, strict=True)]
        mean = sum(shares) / 2
        bits += sum(share / 2 * math.log2(share / mean) for share in shares if share)
    return bits


def surfaces(annotated):
    return [d["text"][e["start"] : e["end"]] for d in annotated for e in d["entities"]]


@pytest.mark.data
def test_most_real_entities_are_terms(annotated, synthetic):
    real_surfaces = surfaces(annotated)
    terms = Vocabulary.default().expanded(10**6)
    generated = {e.text for d in synthetic for e in d.entities}
    share = sum(s in terms for s in real_surfaces) / len(real_surfaces)
    seen = sum(s in generated for s in real_surfaces) / len(real_surfaces)
    print(f"\nreal mentions among the terms {share:.3f}, in the default train {seen:.3f}")
    assert share > 0.7


@pytest.mark.data
def test_entities_are_as_dense_as_in_real_text(annotated, synthetic):
    real = 100 * len(surfaces(annotated)) / sum(len(d["text"]) for d in annotated)
    made = 100 * sum(len(d.entities) for d in synthetic) / sum(len(d.text) for d in synthetic)
    print(f"\nentities per 100 characters: real {real:.1f}, synthetic {made:.1f}")
    assert 0.7 < made / real < 1.4


@pytest.mark.data
def test_characters_are_distributed_as_in_real_text(raw_lines, synthetic):
    texts = [d.text for d in synthetic]
    for size, limit in ((1, 0.15), (2, 0.5)):
        made = divergence(ngrams(texts, size), ngrams(raw_lines, size))
        floor = divergence(ngrams(raw_lines[::2], size), ngrams(raw_lines[1::2], size))
        print(f"\n{size}-gram divergence: synthetic to real {made:.3f}, real half to real half {floor:.3f}")
        assert made < limit


@pytest.mark.data
def test_no_real_line_is_repeated(annotated, raw_lines, synthetic):
    real = {d["text"] for d in annotated} | set(raw_lines)
    assert not [d.text for d in synthetic if d.text in real and len(d.text) > 12]
