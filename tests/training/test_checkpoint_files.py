"""Only what is known to belong to a checkpoint goes."""

from hf_adner.hub.checkpoint_files import is_published, published_files, resumed_files

GOES = [
    "README.md",
    "config.json",
    "explainer_head.safetensors",
    "global_table/global_table.json",
    "lexicon.json",
    "model-00001-of-00002.safetensors",
    "model.safetensors.index.json",
    "modeling_adner.py",
    "tokenizer.json",
]
RESUMES = ["optimizer.pt", "optimizer_0/.metadata", "pytorch_model_fsdp_0/__0_0.distcp", "rng_state_1.pth"]
STAYS = [
    ".push-1/config.json",
    "checkpoint-2/config.json",
    "model/model.safetensors",
    "notes.jsonl",
    "predictions.json",
    "private/config.json",
    "private/global_table/global_table.json",
    "private/optimizer.pt",
    "runs/events.out",
    "training_args.bin",
]


def test_files_are_chosen_by_name_and_depth(tmp_path):
    for name in GOES + RESUMES + STAYS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert published_files(tmp_path) == sorted(GOES)
    assert sorted(resumed_files(tmp_path)) == sorted(GOES + RESUMES)
    assert not any(map(is_published, RESUMES + STAYS))
