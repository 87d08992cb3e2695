"""What a trainer pushes with each `hub_strategy`."""

import pytest

from .test_push import CODE, MODEL, TOKENIZER, names

ROOT = CODE | MODEL | TOKENIZER
RESUMABLE = {"optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"}


def parts(hub, strategy):
    """Files at the top of the repository, and in its folders."""
    files = names(hub.files(f"alice/trained-{strategy}"))
    folders = {name.partition("/")[0] for name in files if "/" in name}
    inside = {folder: {name.partition("/")[2] for name in files if name.startswith(f"{folder}/")} for folder in folders}
    return {name for name in files if "/" not in name}, inside


@pytest.mark.parametrize(
    "strategy, folders",
    [
        ("end", set()),
        ("every_save", set()),
        ("checkpoint", {"last-checkpoint"}),
        ("all_checkpoints", {"checkpoint-1", "checkpoint-2"}),
    ],
)
def test_a_trainer_pushes_a_checkpoint_and_what_it_is_resumed_from(strategy, folders, pushed, hub):
    top, inside = parts(hub, strategy)
    assert top == ROOT | {"README.md"}
    assert inside.keys() == folders
    for files in inside.values():
        assert RESUMABLE | MODEL | TOKENIZER <= files
        assert not {"training_args.bin"} & files


@pytest.mark.parametrize("strategy, saves", [("end", 0), ("every_save", 2), ("checkpoint", 2), ("all_checkpoints", 2)])
def test_each_save_is_one_commit(strategy, saves, pushed, hub):
    steps = [f"Training in progress, step {step}" for step in range(1, saves + 1)]
    assert hub.messages(f"alice/trained-{strategy}") == ["initial", *steps, "End of training"]


def test_links_to_checkpoints_are_gone_when_they_were_sent(pushed, folder):
    for strategy in ("every_save", "checkpoint"):
        assert not list((folder / strategy).glob(".push-*"))
