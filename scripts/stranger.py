#!/usr/bin/env python3
"""What a checkpoint gives to somebody who does not have this package: `stranger.py CHECKPOINT TEXTS.json OUTPUT.pt`.

Writes the logits, the last hidden states, and the entities of its own and of the stock pipeline. `hf_adner` cannot be
imported here, even where it is installed: all code comes from the folder of the checkpoint.
"""

import json
import sys
from pathlib import Path
from typing import Any


class Hide:
    """Makes an import of the package fail."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Refuse the package; anything else is left to the finders that follow."""
        if name.split(".")[0] == "hf_adner":
            raise ModuleNotFoundError(f"No module named {name!r}")


def plain(found: Any) -> Any:
    """Return entities with numbers of Python in place of those of numpy."""
    return json.loads(json.dumps(found, default=float))


def main(checkpoint: str, texts: str, output: str) -> None:
    """Load the checkpoint by the Auto classes and write what it says of the texts."""
    sys.meta_path.insert(0, Hide())
    import torch
    from transformers import AutoModel, AutoModelForTokenClassification, AutoTokenizer, pipeline

    torch.set_num_threads(1)
    words, options = json.loads(Path(texts).read_text(encoding="utf-8")), {"trust_remote_code": True}
    tokenizer = AutoTokenizer.from_pretrained(checkpoint, **options)
    model = AutoModelForTokenClassification.from_pretrained(checkpoint, **options).eval()
    inputs = tokenizer(words, padding=True, truncation=True, return_tensors="pt")
    own = pipeline("adner-ner", model=checkpoint, device="cpu", **options)
    stock = {"aggregation_strategy": "simple", "stride": 8, "device": "cpu"}
    with torch.no_grad():
        told = {
            "logits": model(**inputs).logits,
            "hidden": AutoModel.from_pretrained(checkpoint, **options).eval()(**inputs).last_hidden_state,
            "entities": plain(own(words)),
            "stock": plain(pipeline("token-classification", model=checkpoint, **stock, **options)(words)),
            "modules": sorted({type(thing).__module__.split(".")[0] for thing in (tokenizer, model, own)}),
        }
    torch.save(told, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
