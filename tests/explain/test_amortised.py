"""The explainer head: its file, its maps, and the explainer that uses it."""

import pytest
import torch

from hf_adner import make_explainer
from hf_adner.explain.amortised import HEAD_FILE, ExplainerHead
from hf_adner.explain.targets import last_states, states_size

from .inputs import random_head


def test_shares_of_the_text_sum_to_one_and_do_not_depend_on_the_batch(case):
    head = random_head(case)
    explain = make_explainer("amortised", case.model, case.tokenizer, head=head)
    together = explain(case.texts, case.entities)
    alone = [explain([text], [ones])[0] for text, ones in zip(case.texts, case.entities)]
    for ones, others, entities in zip(together, alone, case.entities, strict=True):
        assert [one.span for one in ones] == entities
        for one, other in zip(ones, others, strict=True):
            assert one.scores == pytest.approx(other.scores, abs=1e-5) and one.method == "amortised"
            assert sum(one.scores) == pytest.approx(1, abs=1e-5) and min(one.scores) >= 0
    assert all(parameter.grad is None for parameter in [*case.model.parameters(), *head.parameters()])


def test_the_map_depends_on_the_entity_and_its_type(build):
    case = build("bert-crf")
    head = random_head(case)
    torch.nn.init.normal_(head.type_query.weight)
    explain = make_explainer("amortised", case.model, case.tokenizer, head=head)
    spans = [(2, 4, "Disease"), (5, 7, "Disease"), (2, 4, "Drug")]
    maps = [one.scores for one in explain([case.texts[4]], [spans])[0]]
    assert len({tuple(round(score, 5) for score in scores) for scores in maps}) == 3


def test_a_head_is_saved_with_its_types(build, tmp_path):
    case = build("bert-crf")
    head = random_head(case)
    head.save_pretrained(tmp_path / "checkpoint")
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == [HEAD_FILE]
    loaded = ExplainerHead.from_pretrained(tmp_path / "checkpoint")
    assert loaded.types == ["Disease", "Drug"]
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in head.state_dict().items())
    case.model.save_pretrained(tmp_path / "checkpoint")
    again = type(case.model).from_pretrained(tmp_path / "checkpoint")
    beside = make_explainer("amortised", again, case.tokenizer)(case.texts, case.entities)
    given = make_explainer("amortised", case.model, case.tokenizer, head=head)(case.texts, case.entities)
    for ones, others in zip(beside, given):
        assert [one.scores for one in ones] == [pytest.approx(other.scores, abs=1e-6) for other in others]


def test_a_missing_or_foreign_head_is_an_error(build, tmp_path):
    case = build("bert-crf")
    with pytest.raises(FileNotFoundError, match="explainer_head.safetensors does not exist"):
        make_explainer("amortised", case.model, case.tokenizer, head=tmp_path)
    other = ExplainerHead(states_size(case.model), 1, types=["Symptom"])
    with pytest.raises(ValueError, match=r"explains entities of \['Symptom'\], the model finds"):
        make_explainer("amortised", case.model, case.tokenizer, head=other)
    (tmp_path / HEAD_FILE).write_bytes((8).to_bytes(8, "little") + b"{}      ")
    with pytest.raises(ValueError, match="no explainer head"):
        ExplainerHead.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="2 names for 3 entity types"):
        ExplainerHead(8, 3, types=["a", "b"])


def test_states_are_those_in_front_of_the_classifier(case):
    batch = case.tokenizer(case.texts[:1], return_tensors="pt")
    with last_states(case.model) as noted:
        outputs = case.model(**batch)
        states = noted.take()
        with pytest.raises(RuntimeError, match="no forward pass"):
            noted.take()
    assert states.shape == (*batch["input_ids"].shape, states_size(case.model))
    if not hasattr(case.model, "entity_log_posteriors"):
        assert torch.allclose(case.model.classifier(states), outputs.logits, atol=1e-5)
    case.model(**batch)
    assert noted.states is None  # it looks no longer


def test_a_model_without_a_base_model_has_no_known_states():
    model = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="Linear names no base model"), last_states(model):
        pass
