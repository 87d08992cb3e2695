"""Loads pushed checkpoints in a process that cannot import the package; run by `conftest.run_client`."""

import json
import pickle
import sys
from pathlib import Path
from typing import Any


class Hide:
    """Makes an import of the package fail."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.split(".")[0] == "hf_adner":
            raise ModuleNotFoundError(f"No module named {name!r}")


sys.meta_path.insert(0, Hide())

import torch  # noqa: E402
from transformers import AutoModel, AutoModelForTokenClassification, AutoTokenizer, pipeline  # noqa: E402


def compare(name: str, folder: Path, **options: Any) -> dict[str, Any]:
    """Whether what was pushed gives, from the Hub, what it gave to who pushed it."""
    repository, options = f"alice/{name}", {"trust_remote_code": True, **options}
    texts, logits, entities, tokens = pickle.loads((folder / f"{name}.pickle").read_bytes())
    tokenizer = AutoTokenizer.from_pretrained(repository, **options)
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    model = AutoModelForTokenClassification.from_pretrained(repository, **options)
    base = AutoModel.from_pretrained(repository, **options)
    ours = pipeline(model=repository, device="cpu", **options)
    stock = pipeline("token-classification", model=repository, aggregation_strategy="simple", stride=8, **options)
    with torch.no_grad():
        return {
            "logits": torch.equal(model(**inputs).logits, logits),
            "hidden states": torch.equal(base(**inputs).last_hidden_state, model.adner(**inputs).last_hidden_state),
            "entities": ours(texts) == entities,
            "stock": stock(texts) == tokens and any(tokens),
            "modules": sorted({type(thing).__module__.split(".")[0] for thing in (tokenizer, model, base, ours)}),
        }


def run(folder: Path) -> dict[str, Any]:
    pinned = json.loads((folder / "pushing_client.py.json").read_text(encoding="utf-8"))["private"]
    return {"m-dscmg": compare("m-dscmg", folder), "bert-crf": compare("bert-crf", folder, revision=pinned)}


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(run(Path(sys.argv[1])), ensure_ascii=False), encoding="utf-8")
