"""A model whose parameters are shared out over two processes (FSDP) trains as a whole one does."""

import torch
from accelerate import PartialState, debug_launcher
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from hf_adner import AdnerForTokenClassification, AdnerTokenizer, Lexicon

TEXTS = ["患者反复红斑三年", "外用他克莫司软膏"]
ENCODER = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def make_model(tokenizer) -> AdnerForTokenClassification:
    torch.manual_seed(0)
    return AdnerForTokenClassification.from_scratch(
        tokenizer, ["病", "药"], "m-dscmg", encoder_config=ENCODER, stream_size=16, head_dropout=0.0
    ).train()


def train_both(report):
    PartialState._reset_state()  # the forked process inherits that of this one
    torch.set_num_threads(1)
    mesh = init_device_mesh("cpu", (PartialState(cpu=True).num_processes,))
    tokenizer = AdnerTokenizer.from_texts(TEXTS, lexicon=Lexicon(["红斑", "软膏"]))
    whole, shared = make_model(tokenizer), make_model(tokenizer)
    for layer in shared.adner.encoder.encoder.layer:
        fully_shard(layer, mesh=mesh)
    fully_shard(shared, mesh=mesh)
    inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
    labels = torch.zeros_like(inputs["input_ids"])
    labels[:, 3], labels[:, 4] = 1, 2
    for model in (whole, shared):
        optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
        for _ in range(2):
            model(**inputs, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    begun = dict(make_model(tokenizer).named_parameters())
    gathered = {name: parameter.full_tensor() for name, parameter in shared.named_parameters()}
    differences = {name: (gathered[name] - one).abs().max() for name, one in whole.named_parameters()}
    moved = max((one - begun[name]).abs().max() for name, one in whole.named_parameters())
    if mesh.get_rank() == 0:
        report.write_text(f"{max(differences.values()).item()} {moved.item()}")


def test_two_processes_share_a_model(tmp_path):
    debug_launcher(train_both, (tmp_path / "report",), num_processes=2)
    difference, moved = map(float, (tmp_path / "report").read_text().split())
    assert difference < 1e-6 < 1e-3 < moved
