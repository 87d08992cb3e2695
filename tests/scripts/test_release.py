"""scripts/release.py: a small release from documents to a folder that can be pushed, with interruptions on the way."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import pipeline

from hf_adner import AdnerForTokenClassification
from hf_adner.cards.record import CardOptions
from hf_adner.hub.checkpoint_files import checkpoint_to_publish
from hf_adner.training.arguments import DatasetArguments, ModelArguments

SIZES = {"train": 80, "validation": 40, "test": 20, "test_unseen": 4, "contrast": 0, "assertion": 0}
STOPPED = ("write_calibration", "audit_robustness", "write_folder")
"""Functions of the stages that are interrupted, one after the other: inside a stage, at its start, and at the end."""


@pytest.fixture(scope="module")
def release(load_script):
    return load_script("release")


@pytest.fixture(scope="module")
def stages(release):
    import release_stages

    return release_stages


@pytest.fixture(scope="module")
def checks(release):
    import release_check

    return release_check


@pytest.fixture(scope="module")
def small(stages):
    """A release of ad-synthetic with a one-layer network and a short audit."""
    split = {name: f"CORPUS/{name}.jsonl" for name in ("validation", "test")}
    return stages.Release(
        dataset=DatasetArguments("CORPUS/train.jsonl", **split),
        model=ModelArguments(encoder_size=32, encoder_layers=1, lexicon="ad", config_overrides="stream_size=32"),
        training={
            "learning_rate": 5e-3,
            "head_learning_rate": 5e-3,
            "num_train_epochs": 6,
            "per_device_train_batch_size": 8,
            "use_cpu": True,
            "disable_tqdm": True,
        },
        card=CardOptions(model_title="A small tagger", dataset_title="ad-synthetic", model_license="apache-2.0"),
        seeds=(3, 4),
        corpus={"seed": 1, "sizes": SIZES},
        elsewhere={"unseen terms": "CORPUS/test_unseen.jsonl"},
        explainers=("grad-x-input", "constant"),
        audit={"max_entities": 4, "groups": ("faithfulness",)},
        audited=10,
        shaken=5,
        coverages=(0.999999,),
    )


def place_of(stages, folder: Path, small):
    return stages.Workplace("small-notes", small, folder / "work", folder / "cards")


@pytest.fixture(scope="module")
def made(release, stages, small, tmp_path_factory):
    """The finished release, and the parts that were there after each of three interruptions."""
    for module in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(module, reason="comes with the extra onnx")
    place, there = place_of(stages, tmp_path_factory.mktemp("release"), small), []
    for name in STOPPED:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stages, name, interrupted(getattr(stages, name), name))
            with pytest.raises(KeyboardInterrupt):
                release.make_release(place)
        there.append({path.name: path.stat().st_mtime_ns for path in place.parts.iterdir()})
        assert not place.finished.exists() and not place.cards.exists()
    release.make_release(place)
    return place, there


def interrupted(function, name):
    """Return a function that is interrupted: `write_folder` only where it would put the release together."""

    def call(*arguments, **options):
        if name != "write_folder" or arguments[0].name == "small-notes":
            raise KeyboardInterrupt
        return function(*arguments, **options)

    return call


@pytest.mark.slow
def test_an_interrupted_release_goes_on_where_it_stopped(made):
    place, (first, second, third) = made
    assert {"corpus", "seed-3", "seed-4"} <= set(first) and "checkpoint" not in first
    assert "checkpoint" in second and "robustness.json" not in second and "onnx" in third
    kept = {path.name: path.stat().st_mtime_ns for path in place.parts.iterdir()}
    assert all(kept[name] == third[name] for name in ("corpus", "checkpoint", "metrics.json", "onnx"))
    assert not [path for path in place.parts.iterdir() if path.name.endswith(".part")]


@pytest.mark.slow
def test_the_folder_is_what_a_push_sends_and_tags(made):
    place, _ = made
    files = {path.relative_to(place.finished).as_posix() for path in place.finished.rglob("*") if path.is_file()}
    assert files == set(checkpoint_to_publish(place.finished)) and {"README.md", "onnx/model.onnx"} <= files
    assert AdnerForTokenClassification.from_pretrained(place.finished).config.calibration["review_budget"] == 0.1
    assert json.loads((place.parts / "check.json").read_text())["onnx_distance"] < 1e-4


@pytest.mark.slow
def test_the_card_has_the_measured_figures_of_every_seed(made):
    place, _ = made
    text = (place.cards / "small-notes.md").read_text(encoding="utf-8")
    assert text == (place.finished / "README.md").read_text(encoding="utf-8")
    for seed in (3, 4):
        scores = json.loads((place.run(seed) / "metrics.json").read_text())["test"]["strict"]
        assert f"| {seed} | {scores['precision']:.4f} | {scores['recall']:.4f} | {scores['f1']:.4f} |" in text
    elsewhere = json.loads((place.parts / "elsewhere.json").read_text())["unseen terms"]
    assert elsewhere["interval"]["low"] <= elsewhere["strict"]["f1"] <= elsewhere["interval"]["high"]
    assert f"| unseen terms | 4 | {elsewhere['gold']} |" in text
    assert "It was trained on invented text" in text and "Not measured" not in text
    assert str(place.work) not in text


@pytest.mark.slow
def test_the_same_seed_makes_the_same_weights_and_calibration(made, stages, small, tmp_path):
    place, again = made[0], place_of(stages, tmp_path, replace(small, seeds=(3,)))
    for stage in stages.stages(again):
        stage.work(again)
        if stage.name == "calibrate":
            break
    for name in ("config.json", "model.safetensors", "lexicon.json"):
        assert (again.parts / "checkpoint" / name).read_bytes() == (place.finished / name).read_bytes()


@pytest.mark.slow
def test_what_differs_without_the_package_is_told(made, checks):
    place, _ = made
    told = checks.ask_stranger(place.finished, list(checks.STRANGE_TEXTS))
    pipe = pipeline("adner-ner", model=str(place.finished), device="cpu")
    assert all(checks.compare_stranger(pipe, told, checks.STRANGE_TEXTS).values())
    told["logits"][0, 1, 0] += 1e-3
    told["modules"] = ["hf_adner"]
    wrong = checks.compare_stranger(pipe, told, checks.STRANGE_TEXTS)
    assert [name for name, same in wrong.items() if not same] == ["logits", "modules"]


@pytest.mark.slow
def test_an_export_of_another_checkpoint_is_not_pushed(made, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(made[0].finished, folder)
    decoder = json.loads((folder / "onnx/decoder.json").read_text(encoding="utf-8"))
    (folder / "onnx/decoder.json").write_text(json.dumps({**decoder, "calibration": None}), encoding="utf-8")
    with pytest.raises(ValueError, match="onnx is not of this checkpoint"):
        checkpoint_to_publish(folder)


def test_parts_of_another_release_are_not_mixed_with_this_one(release, stages, small, tmp_path):
    place = place_of(stages, tmp_path, small)
    release.check_inputs(place)
    release.check_inputs(place)
    changed = replace(place, release=replace(small, seeds=(5,)))
    with pytest.raises(ValueError, match=r"made of something else \(seeds changed\)"):
        release.check_inputs(changed)
    with pytest.raises(ValueError, match="encoder changed"):
        release.check_inputs(replace(place, encoder="owner/encoder"))


def test_other_figures_of_the_same_weights_keep_the_training(release, stages, small, tmp_path, capsys):
    place = place_of(stages, tmp_path, small)
    release.check_inputs(place)
    for stage in stages.stages(place):
        (place.parts / stage.makes).parent.mkdir(exist_ok=True)
        (place.parts / stage.makes).write_text("made")
    changed = replace(place, release=replace(small, audited=11))
    release.check_inputs(changed)
    assert "audited changed" in capsys.readouterr().out
    left = {path.name for path in place.parts.iterdir()}
    assert left == {"inputs.json", "corpus", "seed-3", "seed-4"} and (place.run(3) / "metrics.json").exists()
    place.finished.mkdir()
    with pytest.raises(ValueError, match=r"\(audited changed\): remove it and .*small-notes to begin anew"):
        release.check_inputs(place)


def test_data_that_changed_is_noticed(release, stages, small, tmp_path):
    (tmp_path / "real.jsonl").write_text("{}\n", encoding="utf-8")
    real = replace(small, dataset=DatasetArguments("DATA/real.jsonl"))
    place = replace(place_of(stages, tmp_path, real), data=tmp_path)
    release.check_inputs(place)
    (tmp_path / "real.jsonl").write_text("{} \n", encoding="utf-8")
    with pytest.raises(ValueError, match="files changed"):
        release.check_inputs(place)
    with pytest.raises(ValueError, match="reads DATA/real.jsonl: name the folder"):
        release.check_inputs(replace(place, data=None))


def test_named_releases_are_whole(release, stages, tmp_path):
    """Each has a test and a validation part, a licence where its text is ours alone, and paths that are placed."""
    for name, record in release.RELEASES.items():
        place = stages.Workplace(name, record, tmp_path, tmp_path, tmp_path / "data", "owner/encoder")
        assert place.dataset().test and (place.dataset().validation or place.dataset().validation_share > 0)
        stages.TrainCommandArguments(output_dir=str(tmp_path), seed=0, **record.training)
        assert [stage.makes for stage in stages.stages(place)].index("checkpoint") >= len(record.seeds)
    notes = release.RELEASES["adner-ad-notes"]
    assert all(path.startswith("CORPUS/") for path in (notes.dataset.dataset, notes.dataset.validation))
    assert notes.model.lexicon == "ad-notes" and notes.corpus["profile"] == "notes"
    assert release.RELEASES["adner-cmeee-nested"].model.tagging == "per-label"


def test_scores_of_other_entities_are_infinitely_far(checks):
    entity = {"start": 0, "end": 2, "entity_group": "Drug", "score": 0.5}
    assert checks.onnx_distance([[entity]], [[{**entity, "score": 0.75}]]) == 0.25
    assert checks.onnx_distance([[entity]], [[{**entity, "end": 3}]]) == float("inf")
    assert checks.onnx_distance([[]], [[]]) == 0.0
