"""A checkpoint without the package: all of its code, the same answers, and clear words where something is missing."""

import copy
import json
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, pipeline

from hf_adner import AdnerPipeline
from hf_adner.model import remote_code_adner
from hf_adner.model.codes_adner import CodeEntry, CodeTable
from hf_adner.model.configuration_adner import FORMAT_VERSION, AdnerConfig

ARCHITECTURES = ("m-dscmg", "bert-crf", "per-label")
CODE = sorted(path.name for path in Path(remote_code_adner.__file__).parent.glob("*_adner.py"))
CALIBRATION = {"score": {"slope": 0.5, "intercept": -0.3}, "end": {"slope": 0.9, "intercept": 0.1}}
AUTO_MAP = {
    "AutoConfig": "configuration_adner.AdnerConfig",
    "AutoModel": "modeling_adner.AdnerModel",
    "AutoModelForTokenClassification": "modeling_adner.AdnerForTokenClassification",
    "AutoTokenizer": ["tokenization_adner.AdnerTokenizer", None],
}

WITHOUT_PACKAGE = """
    import pickle, sys
    from pathlib import Path

    class Hide:
        hidden = {"hf_adner", "torchcrf"}
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in self.hidden:
                raise ModuleNotFoundError(f"No module named {name!r}")

    sys.meta_path.insert(0, Hide())
    import torch
    from transformers import AutoModel, AutoModelForTokenClassification, AutoTokenizer, pipeline

    def message(call):
        try:
            call()
        except ImportError as error:
            return str(error)

    def answers(folder):
        options = {"trust_remote_code": True}
        tokenizer = AutoTokenizer.from_pretrained(folder, **options)
        model = AutoModelForTokenClassification.from_pretrained(folder, **options)
        inputs = tokenizer(texts, padding=True, return_tensors="pt")
        ours = pipeline(model=folder, device="cpu", **options)
        stock = pipeline("token-classification", model=folder, device="cpu", aggregation_strategy="simple", **options)
        with torch.no_grad():
            hidden = AutoModel.from_pretrained(folder, **options)(**inputs).last_hidden_state
            logits = model(**inputs).logits
        kinds = {type(thing).__module__.split(".")[0] for thing in (tokenizer, model, ours)}
        ours.save_pretrained(Path(folder) / "again")
        found = ours(texts, assertion=True, constraints={"红斑": "Drug", "軟膏": "Disease"}, codes=True)
        return hidden, logits, found, stock(texts), kinds, message(lambda: ours("x", explain=True))

    texts, folders = pickle.load(sys.stdin.buffer)
    no_crf = message(lambda: AutoModelForTokenClassification.from_pretrained(folders[0], trust_remote_code=True))
    Hide.hidden.remove("torchcrf")
    pickle.dump((no_crf, [answers(folder) for folder in folders]), open(sys.argv[1], "wb"))
"""


@pytest.fixture(scope="module")
def checkpoints(build, tokenizer, tmp_path_factory):
    """Per architecture (a per-label m-dscmg beside) its pipeline, and the folder that it was saved in."""
    saved = {}
    for architecture in ARCHITECTURES:
        folder = tmp_path_factory.mktemp("checkpoints") / architecture
        per_label = architecture == "per-label"
        model = build("m-dscmg", tagging=architecture) if per_label else build(architecture)
        if architecture == "bert-crf":
            model.config.calibration = CALIBRATION
        own = copy.deepcopy(tokenizer)
        own.code_table = CodeTable([CodeEntry("红斑", "L53.9"), CodeEntry("软膏", "X", "Disease")])
        if architecture == "m-dscmg":
            model.add_words(own, ["四肢", "软膏"])
        pipe = pipeline("adner-ner", model=model, tokenizer=own, device="cpu")
        pipe.save_pretrained(folder)
        saved[architecture] = (pipe, folder)
    return saved


@pytest.fixture(scope="module")
def without_package(checkpoints, texts, tmp_path_factory):
    """What a process that cannot import the package makes of the folders."""
    output = tmp_path_factory.mktemp("answers") / "answers.pickle"
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(WITHOUT_PACKAGE), str(output)],
        input=pickle.dumps((texts, [str(folder) for _, folder in checkpoints.values()])),
        cwd=output.parent,
        capture_output=True,
    )
    assert run.returncode == 0, run.stderr.decode()[-2000:]
    no_crf, answers = pickle.loads(output.read_bytes())
    return no_crf, dict(zip(ARCHITECTURES, answers, strict=True))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_answers_are_the_same_without_the_package(architecture, checkpoints, without_package, texts):
    pipe, folder = checkpoints[architecture]
    hidden, logits, entities, tokens, modules, _ = without_package[1][architecture]
    assert modules == {"transformers_modules"}
    inputs = pipe.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(hidden, AutoModel.from_pretrained(folder)(**inputs).last_hidden_state)
        assert torch.equal(logits, pipe.model(**inputs).logits)
    stock = pipeline("token-classification", model=str(folder), device="cpu", aggregation_strategy="simple")
    constraints = {"红斑": "Drug", "软膏": "Disease"}
    assert entities == pipe(texts, assertion=True, constraints=constraints, codes=True) and any(entities)
    assert {(one["word"], one["code"]) for found in entities for one in found if one["forced"]} == {
        ("红斑", "L53.9"),
        ("软膏", "X"),
    }
    calibrated = {"posterior" in one for found in entities for one in found}
    assert calibrated == {architecture == "bert-crf"}
    assert tokens == stock(texts) and any(tokens)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_saved_again_without_the_package_a_checkpoint_is_complete(architecture, checkpoints, without_package, texts):
    pipe, folder = checkpoints[architecture]
    again = folder / "again"
    assert {path.name for path in again.iterdir()} == {path.name for path in folder.iterdir()} - {"again"}
    saved, expected = (json.loads((place / "config.json").read_text()) for place in (again, folder))
    assert all(saved[name] == expected[name] for name in ("auto_map", "custom_pipelines", "format_version"))
    assert pipeline(model=str(again), device="cpu")(texts) == pipe(texts)


def test_what_is_missing_is_named(without_package):
    no_crf, answers = without_package
    assert "pip install pytorch-crf" in no_crf
    for *_, no_explainer in answers.values():
        assert "explain=True needs the package hf_adner" in no_explainer and "pip install" in no_explainer


@pytest.mark.parametrize("saved", ["model", "base model", "tokenizer", "configuration"])
def test_whatever_is_saved_brings_all_code(saved, build, tokenizer, tmp_path):
    model = build("m-dscmg")
    things = {"model": model, "base model": model.adner, "tokenizer": tokenizer, "configuration": model.config}
    things[saved].save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.py")) == CODE
    if saved == "tokenizer":
        config = json.loads((tmp_path / "tokenizer_config.json").read_text())
        assert config["auto_map"] == {"AutoTokenizer": AUTO_MAP["AutoTokenizer"]}
        return
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["auto_map"] == AUTO_MAP
    assert config["custom_pipelines"]["adner-ner"]["impl"] == "pipeline_adner.AdnerPipeline"


@pytest.mark.parametrize("arguments", [{}, {"task": "adner-ner"}, {"trust_remote_code": True}])
def test_with_the_package_its_own_pipeline_needs_no_trust(arguments, checkpoints, texts):
    pipe, folder = checkpoints["m-dscmg"]
    for source in (folder, str(folder)):
        loaded = pipeline(model=source, device="cpu", **arguments)
        assert type(loaded) is AdnerPipeline
        assert loaded(texts) == pipe(texts)


def test_code_imports_only_what_travels_along():
    """transformers follows `from .x import y` wherever it stands, docstrings included."""
    for name in CODE:
        text = (Path(remote_code_adner.__file__).parent / name).read_text(encoding="utf-8")
        lines = [line.split() for line in text.splitlines() if line.lstrip().startswith(("from .", "import ."))]
        assert all(f"{line[1].removeprefix('.')}.py" in CODE and line[2] == "import" for line in lines), name
        assert "import hf_adner" not in text.replace("`import hf_adner`", "") and "from hf_adner" not in text, name


@pytest.mark.parametrize("found, advice", [("2.0", "newer"), ("0.9", "older")])
def test_another_format_is_refused(found, advice, checkpoints, tmp_path):
    _, folder = checkpoints["bert-crf"]
    config = json.loads((folder / "config.json").read_text())
    assert config["format_version"] == FORMAT_VERSION
    (tmp_path / "config.json").write_text(json.dumps({**config, "format_version": found, "architecture": "unheard-of"}))
    with pytest.raises(ValueError, match=f"has format {found}, .* reads {FORMAT_VERSION}; install a {advice} hf_adner"):
        AdnerConfig.from_pretrained(tmp_path)


def test_a_newer_minor_format_is_told(checkpoints, caplog):
    saved = json.loads((checkpoints["bert-crf"][1] / "config.json").read_text())
    config = AdnerConfig(**{**saved, "format_version": "1.9"})
    assert f"format 1.9, newer than {FORMAT_VERSION}" in caplog.text and config.format_version == FORMAT_VERSION
