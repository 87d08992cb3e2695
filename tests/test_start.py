"""What the package and its command import before they answer."""

import json
import subprocess
import sys

import pytest

import hf_adner
from hf_adner import AdnerForTokenClassification, AdnerTokenizer

NEEDLESS = {"captum", "datasets", "evaluate", "fastapi", "gradio", "matplotlib", "onnx", "onnxruntime", "openvino"}
NEEDLESS |= {"pandas", "prometheus_client", "pyarrow", "ray", "sklearn", "spacy", "uvicorn"}
"""Libraries that take long to import, and that neither the package nor `adner predict --text` and `explain` use."""

IMPORTED = """
import contextlib, io, json, sys
import hf_adner
imported = [sorted(sys.modules)]
import adner_cli
printed = io.StringIO()
with contextlib.redirect_stdout(printed):
    adner_cli.main(["--debug", "predict", sys.argv[1], "--text", "四肢红斑伴瘙痒"])
imported.append(sorted(sys.modules))
with contextlib.redirect_stdout(io.StringIO()):
    adner_cli.main(["explain", sys.argv[1], "--text", "四肢红斑伴瘙痒", "--output", sys.argv[2]])
imported.append(sorted(sys.modules))
print(json.dumps({"imported": imported, "document": json.loads(printed.getvalue())}))
"""


@pytest.mark.slow
def test_the_first_answer_imports_no_library_that_it_does_not_use(tmp_path):
    tokenizer = AdnerTokenizer.from_texts(["四肢红斑伴瘙痒"])
    model = AdnerForTokenClassification.from_scratch(tokenizer, ["Symptom"], "bilstm-crf")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    code = [sys.executable, "-c", IMPORTED, str(tmp_path), str(tmp_path / "page.html")]
    printed = json.loads(subprocess.run(code, check=True, capture_output=True, text=True).stdout)
    assert printed["document"]["text"] == "四肢红斑伴瘙痒"
    package, answer, page = printed["imported"]
    assert not NEEDLESS & {name.partition(".")[0] for name in [*answer, *page]}
    explaining = [name for name in package if name.startswith("hf_adner.explain")]
    assert explaining == ["hf_adner.explain", "hf_adner.explain.explanation"]  # the record and nothing else
    rooms = {"audit", "cards", "comparison", "guided", "hub", "metrics", "perturb", "pretraining", "serve", "training"}
    assert not {f"hf_adner.{room}" for room in (*rooms, "view")} & set(package)
    assert not {f"hf_adner.{room}" for room in rooms - {"audit", "hub", "perturb"}} & set(answer)
    assert {"make_explainer", "Explanation"} <= set(hf_adner.__all__)
