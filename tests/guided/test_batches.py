"""Guided arguments and schedule, views as model inputs, and maps between characters and tokens."""

import numpy as np
import pytest

from hf_adner.data.records import Document, Entity
from hf_adner.guided.arguments import FAST, ExplanationGuidedTrainingArguments, GuidedSchedule
from hf_adner.guided.batches import ViewEncoder
from hf_adner.guided.windows import TokenMap, aligned_tokens, tokenize
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.perturb.edits import Edit, apply_edits
from hf_adner.perturb.perturbation import CharacterAlignment, Perturbed

from .guided import NO_TERMS, arguments, setting

LABELS = {"O": 0, "B-Disease": 1, "I-Disease": 2}


@pytest.fixture
def tokenizer() -> AdnerTokenizer:
    """Knows the characters of one sentence."""
    return AdnerTokenizer.from_texts(["患者湿疹，瘙痒。"])


def encode(tokenizer, text, edits, entity=(2, 4), mask_id=None):
    """The view that edits (start, end, replacement) make of a text."""
    document = Document("one", text, (Entity(*entity, "Disease"),))
    perturbed = apply_edits(document, [Edit(*edit) for edit in edits], family="test", inside_entities=True)
    [(_, tokens)] = tokenize(tokenizer, [text])
    mask_id = tokenizer.mask_token_id if mask_id is None else mask_id
    [view] = ViewEncoder(tokenizer, LABELS, mask_id, None)([perturbed], [tokens], [0])
    return view


def test_unknown_characters_that_an_edit_writes_into_the_context_are_masked(tokenizer):
    view = encode(tokenizer, "患者湿疹，瘙痒。", [(4, 5, ","), (5, 7, "皮炎")])
    expected = tokenizer.convert_tokens_to_ids([*"患者湿疹", *["[MASK]"] * 3, "。"])
    assert view.features["input_ids"][1:-1] == expected and view.aligned[5:8].tolist() == [-1, -1, -1]


def test_characters_that_were_unknown_before_stay_so(tokenizer):
    view = encode(tokenizer, "患儿湿疹，瘙痒。", [(4, 5, ",")])
    unknown, mask = (view.features["input_ids"].count(one) for one in (tokenizer.unk_token_id, tokenizer.mask_token_id))
    assert (unknown, mask) == (1, 1) and view.features["input_ids"][2] == tokenizer.unk_token_id


def test_unknown_characters_of_an_entity_are_learned_as_the_entitys(tokenizer):
    view = encode(tokenizer, "患者湿疹，瘙痒。", [(2, 4, "痤疮")])
    assert view.features["input_ids"][3:5] == [tokenizer.unk_token_id] * 2 and view.features["labels"][3:5] == [1, 2]


def test_without_a_mask_token_no_view_teaches_what_unknown_is(tokenizer):
    unknown = tokenizer.unk_token_id
    assert encode(tokenizer, "患者湿疹，瘙痒。", [(4, 5, ",")], mask_id=unknown) is None
    assert encode(tokenizer, "患者湿疹，瘙痒。", [(4, 5, "。")], mask_id=unknown) is not None


def test_no_view_of_a_vocabulary_made_from_the_training_texts_holds_an_unknown_token(tmp_path):
    given = setting("bilstm-crf")
    trainer = given.trainer(tmp_path, view_share=1.0)
    unknown, mask = given.tokenizer.unk_token_id, given.tokenizer.mask_token_id
    written = masked = 0
    for epoch in range(8):
        trainer.guidance.epoch = epoch
        for example in trainer.guided_dataset.__getitems__(range(16)):
            if example.view is not None:
                assert unknown not in example.view.features["input_ids"]
                masked += example.view.features["input_ids"].count(mask)
                document = trainer.guidance.windows[example.window].document
                view = trainer.guided_dataset.maker.make_view(document, epoch, entity=example.focus)
                written += unknown in given.tokenizer(view.document.text.replace("\u25a1", ""))["input_ids"]
    assert written > 5 and masked > written


WORDS = TokenMap([(0, 0), (0, 4), (5, 6), (6, 8), (0, 0)], 8)  # "ecze" "a" "nd" with a space at 4


def test_one_token_per_character_changes_nothing():
    tokens = TokenMap([(0, 0), (0, 1), (1, 2), (2, 3), (0, 0)], 3)
    logs = np.array([0.0, 0.5, -1.0, 2.0, 0.0])
    assert tokens.to_characters(logs).tolist() == pytest.approx([0.5, -1.0, 2.0])
    assert tokens.to_tokens(np.array([0.5, -1.0, 2.0])).tolist() == pytest.approx([0, 0.5, -1.0, 2.0, 0])
    assert tokens.means(np.array([0.5, -1.0, 2.0])).tolist() == [0, 0.5, -1.0, 2.0, 0]


def test_a_tokens_share_is_split_over_its_characters_and_comes_back():
    shares = np.array([0, 0.5, 0.25, 0.25, 0])
    logs = np.log(np.maximum(3 * shares, 1e-9))
    characters = WORDS.to_characters(logs)
    assert np.isnan(characters[4]) and np.isfinite(np.delete(characters, 4)).all()
    spread = np.exp(np.delete(characters, 4)) / 7
    assert spread.tolist() == pytest.approx([0.125] * 4 + [0.25] + [0.125] * 2)
    back = WORDS.to_tokens(np.nan_to_num(characters))
    assert back[1:4].tolist() == pytest.approx(logs[1:4].tolist()) and back[[0, 4]].tolist() == [0, 0]
    assert WORDS.means(np.arange(8.0)).tolist() == [0, 1.5, 5, 6.5, 0]


def test_a_text_without_tokens():
    empty = TokenMap([(0, 0), (0, 0)], 0)
    assert len(empty) == 2 and not empty.is_text.any()
    assert empty.to_characters(np.zeros(2)).shape == (0,) and empty.to_tokens(np.zeros(0)).tolist() == [0, 0]


def test_spans_of_whole_tokens_are_found():
    assert WORDS.tokens_of(0, 4) == (1, 2) and WORDS.tokens_of(5, 8) == (2, 4) and WORDS.tokens_of(4, 6) == (2, 3)
    assert WORDS.tokens_of(0, 3) is None and WORDS.tokens_of(7, 8) is None and WORDS.tokens_of(4, 5) is None


def replaced(text: str, new: str, backward: list[int | None], edited: tuple[int, ...], entity=(0, 1)) -> Perturbed:
    before = Document("a", text, (Entity(*entity, "D"),))
    after = Document("a", new, (Entity(*entity, "D"),))
    return Perturbed(before, after, CharacterAlignment.from_backward(backward, len(text)), (0,), edited=edited)


def test_unedited_tokens_are_aligned_wherever_they_moved():
    perturbed = replaced("abcd", "axdyc", [0, 1, 3, None, 2], (1,))
    one = TokenMap([(0, 0), *((place, place + 1) for place in range(4)), (0, 0)], 4)
    two = TokenMap([(0, 0), *((place, place + 1) for place in range(5)), (0, 0)], 5)
    assert aligned_tokens(one, two, perturbed).tolist() == [-1, 1, -1, 5, 3, -1]


def test_a_token_that_is_split_otherwise_has_no_counterpart():
    perturbed = replaced("abcd", "abcdd", [0, 1, 2, 3, None], ())
    text = TokenMap([(0, 2), (2, 4)], 4)
    assert aligned_tokens(text, TokenMap([(0, 2), (2, 5)], 5), perturbed).tolist() == [0, -1]
    assert aligned_tokens(text, TokenMap([(0, 2), (2, 4), (4, 5)], 5), perturbed).tolist() == [0, 1]


def schedule(tmp_path, steps: int, per_epoch: int, **options) -> GuidedSchedule:
    return GuidedSchedule.of(arguments(tmp_path, **options), steps, per_epoch)


def test_the_plain_phase_is_whole_epochs_and_at_least_one(tmp_path):
    assert schedule(tmp_path, 100, 10, plain_share=0.2).plain_steps == 20
    assert schedule(tmp_path, 100, 10, plain_share=0.0).plain_steps == 10
    assert schedule(tmp_path, 30, 10, plain_share=0.2).plain_epochs == 1
    assert not schedule(tmp_path, 10, 10).has_guided_phase and schedule(tmp_path, 11, 10).has_guided_phase


def test_weights_rise_over_the_ramp(tmp_path):
    plan = schedule(tmp_path, 100, 10, plain_share=0.2, ramp_share=0.2, saliency_interval=3)
    rise = [plan.ramp(step) for step in range(100)]
    assert rise[:20] == [0.0] * 20 and rise[39:] == [1.0] * 61
    assert all(one < two for one, two in zip(rise[19:39], rise[20:40])) and 0 < rise[20] < 0.02
    assert schedule(tmp_path, 100, 10, ramp_share=0.0).ramp(20) == 1.0
    assert [step for step in range(7) if plan.explains_anew(step)] == [0, 3, 6]
    assert not plan.is_settled(49) and plan.is_settled(50) and plan.epoch_of(19) == 1


def test_arguments_are_checked(tmp_path):
    for wrong in (
        {"stability_weight": -1.0}, {"view_share": 1.5}, {"edited_share": 0.0}, {"saliency_interval": 0},
        {"explanation_control": "other"}, {"boundary_smoothing": 2.0}, {"r_drop_weight": float("nan")},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(wrong))):
            arguments(tmp_path, **wrong)


def test_what_is_built_depends_on_the_weights(tmp_path):
    assert not arguments(tmp_path, **NO_TERMS).is_guided
    for name in NO_TERMS:
        one = arguments(tmp_path, **{**NO_TERMS, name: 0.5})
        assert one.is_guided and one.uses_views and one.uses_explanations == (name != "view_ner_weight")
    assert not arguments(tmp_path, view_share=0.0).uses_views
    assert arguments(tmp_path, **NO_TERMS, r_drop_weight=1.0).is_guided
    fast = ExplanationGuidedTrainingArguments.fast(str(tmp_path), use_cpu=True, view_share=0.3)
    assert fast.view_share == 0.3 and fast.saliency_interval == FAST["saliency_interval"]
