"""From push to `from_pretrained` in an empty cache, and what a push says that cannot be.

What a trainer pushes with each `hub_strategy`.

Only what is known to belong to a checkpoint goes.
"""

import json
import re

import pytest

from hf_adner.hub.checkpoint_files import is_published, published_files, resumed_files
from hf_adner.model.configuration_adner import FORMAT_VERSION

pytestmark = pytest.mark.slow  # dozens of pushes and downloads

CODE = {"configuration_adner.py", "modeling_adner.py", "pipeline_adner.py", "tokenization_adner.py", "crf_adner.py"}
MODEL = {"config.json", "model.safetensors"}
TOKENIZER = {"tokenizer.json", "tokenizer_config.json", "lexicon.json", "script_map.json", "assertion_rules.tsv"}
TABLE = {"global_table/global_table.safetensors"}
EVERYTHING = CODE | MODEL | TOKENIZER | TABLE | {"README.md"}


def names(files):
    """Without the code that other code imports."""
    return {name for name in files if not name.endswith("_adner.py") or name in CODE}


def test_a_push_sends_everything_that_belongs_to_a_checkpoint(pushed, hub):
    assert names(hub.files("alice/m-dscmg")) == EVERYTHING
    assert hub.messages("alice/m-dscmg") == ["initial", "First"]
    status, output = pushed["shell"]
    commit = hub.repositories["alice/m-dscmg"].branches["main"][-1].oid
    assert status == 0 and output.endswith(f"/alice/m-dscmg/commit/{commit}\nload it with revision='{commit}'\n")


def test_a_new_repository_is_private_and_in_the_own_namespace_where_that_was_said(pushed, hub):
    assert hub.repositories["alice/bert-crf"].private and not hub.repositories["alice/m-dscmg"].private


def test_the_card_names_the_repository(pushed, hub):
    assert hub.files("alice/m-dscmg")["README.md"].endswith(b"# A card of alice/m-dscmg\n")
    assert hub.files("alice/bert-crf")["README.md"].endswith(b"# A card of alice/bert-crf\n")


def test_a_branch_is_made_and_holds_only_its_checkpoint(pushed, hub):
    assert json.loads(hub.files("alice/m-dscmg", "small")["config.json"])["architecture"] == "bert-crf"
    assert json.loads(hub.files("alice/m-dscmg")["config.json"])["architecture"] == "m-dscmg"


def test_nothing_private_leaves(pushed, hub):
    """No push of any kind sends `private/`, pickled arguments, or anything that names a document."""
    for name, repository in hub.repositories.items():
        for commit in (commit for branch in repository.branches.values() for commit in branch):
            for path, content in commit.files.items():
                assert "private" not in path and "training_args" not in path, (name, path)
                assert b"secret-patient" not in content and b"hf_alice" not in content, (name, path)
    assert not any(b"secret-patient" in blob for blob in hub.blobs.values())


@pytest.mark.parametrize("architecture", ["m-dscmg", "bert-crf"])
def test_without_the_package_the_hub_gives_what_was_pushed(architecture, loaded):
    found = loaded[architecture]
    assert all(found[what] for what in ("logits", "hidden states", "entities", "stock"))
    assert found["modules"] == ["transformers_modules"]


def test_with_the_package_the_hub_needs_no_trust(pushed):
    assert pushed["from the Hub"]


def test_a_model_goes_with_its_code_a_pipeline_with_its_tokenizer(pushed, hub):
    assert names(hub.files("alice/model-only")) == CODE | MODEL | {"README.md"}
    assert names(hub.files("alice/pipeline")) == CODE | MODEL | TOKENIZER | {"README.md"}


@pytest.mark.parametrize(
    "case, message",
    [
        ("document lexicon", r"ValueError: .*words or exact counts of documents.*allow_document_lexicon"),
        ("document lexicon, allowed", "^$"),
        ("document lexicon of a tokenizer", "ValueError: .*words or exact counts of documents"),
        ("document lexicon of a saved tokenizer", "ValueError: .*words or exact counts of documents"),
        ("document lexicon of a pipeline", "ValueError: .*words or exact counts of documents"),
        ("document lexicon of a trainer", "ValueError: .*words or exact counts of documents"),
        ("raw table", r"ValueError: .*raw table, which names documents; replace it by table.publish\(\)"),
        ("no code", r"FileNotFoundError: .*lacks code .*\(crf_adner.py\); load the checkpoint and save it again"),
        ("no weights", "FileNotFoundError: .*no weights, expected model.safetensors"),
        ("damaged", "CheckpointError: .*model.safetensors is damaged or incomplete"),
        ("no lexicon", "FileNotFoundError: .*has no lexicon.json, which its tokenizer"),
        ("another model", "ValueError: .*holds a model of type 'bert', expected 'adner'"),
    ],
)
def test_what_must_not_or_cannot_leave(case, message, pushed, hub):
    assert re.search(message, pushed["checkpoints"][case], re.DOTALL), pushed["checkpoints"][case]
    assert "alice/refused" not in hub.repositories


@pytest.mark.parametrize(
    "case, message",
    [
        ("wrong token", "PermissionError: the Hub does not accept the token"),
        ("someone else's", "PermissionError: the token may not write to alice/m-dscmg"),
        ("someone else's, private", "PermissionError: the token may not write to alice/bert-crf"),
        ("public", "ValueError: alice/m-dscmg exists and is public, but private=True"),
        ("another kind", "ValueError: alice/bert exists and holds a model of type 'bert'"),
        ("no name", "HFValidationError: Repo id must be"),
        ("no network", "ConnectionError: no connection to http://127.0.0.1:9"),
        ("offline", "ConnectionError: offline mode is on: unset HF_HUB_OFFLINE"),
    ],
)
def test_a_push_that_cannot_be_says_why(case, message, pushed):
    assert pushed["pushes"][case].startswith(message)


def test_the_shell_says_it_in_one_line(pushed):
    status, output = pushed["pushes"]["shell"]
    assert status == 1 and re.search("adner push: ValueError: .*public.*\n$", output)


@pytest.mark.parametrize(
    "case, message",
    [
        ("missing repository", "OSError: alice/nothing is not a local folder and is not a valid model identifier"),
        ("missing revision", "OSError: nowhere is not a valid git identifier"),
        ("wrong token", r"OSError: .*(Invalid|401)"),
        ("someone else's", "OSError: alice/bert-crf is not a local folder and is not a valid model identifier"),
        (
            "future",
            f"CheckpointError: the checkpoint has format 2.0, this version of hf_adner reads {FORMAT_VERSION}; install",
        ),
        ("offline", "OSError: We couldn't connect to"),
    ],
)
def test_a_load_that_cannot_be_says_why(case, message, pushed):
    assert re.match(message, pushed["loads"][case], re.DOTALL), pushed["loads"][case]


def test_a_missing_revision_is_told_in_the_shell(pushed):
    status, output = pushed["loads"]["missing revision, shell"]
    assert status == 1 and "on the Hub it has no revision 'nowhere'" in output


def test_an_interrupted_push_changes_nothing_and_can_be_repeated(pushed, hub):
    errors = pushed["interrupted"]
    assert errors["commit"].startswith("ConnectionError: no connection to")
    assert errors["upload"].startswith("PermissionError: the token may not write to alice/no-uploads: upload refused")
    assert hub.messages("alice/no-uploads") == ["initial"] and not hub.files("alice/no-uploads")
    assert not errors["again"]
    assert hub.messages("alice/m-dscmg", "next") == ["initial", "First", "Second"]


def test_a_second_push_replaces_the_checkpoint(pushed, hub):
    first, second = hub.files("alice/m-dscmg"), hub.files("alice/m-dscmg", "next")
    assert names(second) == EVERYTHING - TABLE
    assert second["README.md"] == b"# Another card\n" and second["model.safetensors"] != first["model.safetensors"]


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


GOES = [
    "README.md",
    "assertion_rules.tsv",
    "config.json",
    "global_table/global_table.json",
    "global_table/global_table.safetensors",
    "lexicon.json",
    "model-00001-of-00002.safetensors",
    "model.safetensors.index.json",
    "modeling_adner.py",
    "script_map.json",
    "tokenizer.json",
]
RESUMES = ["optimizer.pt", "optimizer_0/.metadata", "pytorch_model_fsdp_0/__0_0.distcp", "rng_state_1.pth"]
STAYS = [
    ".push-1/config.json",
    "checkpoint-2/config.json",
    "global_table/.global_table.safetens.x.part",
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
