"""Views as model inputs."""

import pytest

from hf_adner.data.records import Document, Entity
from hf_adner.guided.batches import ViewEncoder
from hf_adner.guided.windows import tokenize
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.perturb.edits import Edit, apply_edits

from .guided import setting

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
