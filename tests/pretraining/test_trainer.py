"""The trainer of masked language models: its loss reads the masked positions alone, whatever the model's head."""

import math

import pytest
import torch
from transformers import AutoConfig, AutoModelForMaskedLM

from hf_adner.pretraining.arguments import PretrainingTrainingArguments
from hf_adner.pretraining.trainer import PretrainingTrainer, masked_token_sums, perplexity

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
}
FAMILIES = ("bert", "roberta", "electra", "deberta-v2", "modernbert", "mpnet")


class Nothing:
    """A collator of text that is not read."""

    def set_epoch(self, epoch):
        pass


@pytest.fixture
def batch():
    torch.manual_seed(1)
    ids = torch.randint(5, 40, (3, 10))
    labels = torch.where(torch.rand(3, 10) < 0.4, ids, -100)
    labels[1] = -100  # a row without masks
    attention_mask = torch.ones_like(ids)
    attention_mask[2, 7:] = 0
    labels[2, 7:] = -100
    return {"input_ids": ids, "attention_mask": attention_mask, "labels": labels}


def trainer_of(model, folder) -> PretrainingTrainer:
    args = PretrainingTrainingArguments(output_dir=str(folder), use_cpu=True)
    return PretrainingTrainer(model=model, args=args, collator=Nothing(), eval_collator=Nothing())


def outputs_of_the_head(model) -> list[int]:
    """Return the positions read at each call of the output layer."""
    seen = []
    model.get_output_embeddings().register_forward_hook(lambda *call: seen.append(call[2][..., 0].numel()))
    return seen


@pytest.mark.parametrize("family", FAMILIES)
def test_the_head_reads_the_masked_positions_alone_at_the_loss_of_all(family, batch, tmp_path):
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model(family, **SIZES)).eval()
    trainer, seen = trainer_of(model, tmp_path), outputs_of_the_head(model)
    loss = trainer.compute_loss(model, dict(batch))
    loss.backward()
    sparse = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    masked = int((batch["labels"] != -100).sum())
    assert seen == [masked]

    model.zero_grad()
    whole, outputs = trainer.compute_loss(model, dict(batch), return_outputs=True)
    whole.backward()
    assert seen == [masked, batch["labels"].numel()]
    assert outputs["logits"].shape == (3, 10, 40)
    assert loss.item() == pytest.approx(whole.item(), rel=1e-6)
    assert sparse.keys() == {name for name, weight in model.named_parameters() if weight.grad is not None}
    for name, weight in model.named_parameters():
        if weight.grad is not None:
            torch.testing.assert_close(sparse[name], weight.grad, rtol=1e-5, atol=1e-7)


def test_a_model_whose_head_is_not_known_is_read_whole(batch, tmp_path, monkeypatch):
    torch.manual_seed(0)
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model("bert", **SIZES)).eval()
    trainer = trainer_of(model, tmp_path)
    known = trainer.compute_loss(model, dict(batch)).item()
    monkeypatch.setattr(model, "get_output_embeddings", lambda: None)
    assert trainer.compute_loss(model, dict(batch)).item() == pytest.approx(known, rel=1e-6)


def test_no_hook_stays_on_the_model(batch, tmp_path):
    model = AutoModelForMaskedLM.from_config(AutoConfig.for_model("bert", **SIZES)).eval()
    trainer = trainer_of(model, tmp_path)
    trainer.compute_loss(model, dict(batch))
    with pytest.raises(RuntimeError):
        trainer.compute_loss(model, {**batch, "attention_mask": batch["attention_mask"][:, :-1]})
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_perplexity_counts_masked_tokens_only():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 5, 7), torch.full((3, 5), -100)
    labels[0, 1], labels[0, 3], labels[2, 4] = 2, 6, 0
    sums = masked_token_sums(logits, labels)
    assert sums[:, 2].tolist() == [2.0, 0.0, 1.0]
    mean = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()).item()

    class Predicted:
        predictions = sums.numpy()

    scores = perplexity(Predicted)
    assert scores["perplexity"] == pytest.approx(math.exp(mean)) and 0 <= scores["accuracy"] <= 1
