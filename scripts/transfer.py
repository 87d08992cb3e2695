#!/usr/bin/env python3
"""Train on the synthetic corpus alone, score on real dermatology lines, and write `model_cards/results/transfer/`.

`--data` is the folder with `ad_real/` and `encoders/`, which are not part of this project. `--earlier FOLDER` adds a
run on another version of the corpus, the `train.jsonl` in that folder, for instance from an earlier commit:

    git archive e6f94b0 | tar x -C EARLIER && cd EARLIER && python -c "
    from hf_adner.data import write_documents; from hf_adner.data.synthetic import generate_corpus
    write_documents(generate_corpus()['train'], 'train.jsonl')"

Runs that have a record are skipped; `--table` only writes the tables.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results_table import load_records, update_section

from hf_adner.data.dataset import documents_from_dataset, load_ner_dataset
from hf_adner.data.formats import write_documents
from hf_adner.files import write_file
from hf_adner.model.modeling_adner import AdnerForTokenClassification
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.reporting import markdown_table
from hf_adner.training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments
from hf_adner.training.run import MODEL_FOLDER, evaluate_split, run_training

RECORDS = Path("model_cards/results/transfer")
PAGE = RECORDS / "README.md"
HEADING = "## From synthetic notes to real lines"
SPLITS = ("test", "test_unseen", "contrast")
HEADER = """
m-dscmg with the first layers of `e5-small-zh-char` and the built-in lexicon, trained on `ad-synthetic` alone (or on
what the row names) and scored on the 60 lines of `ad_real/dev`: real dermatology text of consumers and doctors, 410
entities, annotated by the same guide. Strict F1 in percent; one seed; every figure is in
[results/transfer/](.). The generator was steered by `ad_real/train`, never by `dev`. `first-version`:
the generator's first committed state, which was deep already and had seen more of the terms that are unseen today.

    python scripts/transfer.py --data FOLDER --earlier EARLIER
"""


def sources(args: argparse.Namespace) -> dict[str, Path]:
    """Write the training documents of each run to the work folder and return the files."""
    synthetic = list(documents_from_dataset(load_ner_dataset("ad-synthetic")["train"]))
    real = load_ner_dataset(str(args.data / "ad_real/train.jsonl"))["train"]
    args.work.mkdir(parents=True, exist_ok=True)
    files = {name: args.work / f"{name}.jsonl" for name in ("ad-synthetic", "ad-synthetic-and-real")}
    write_documents(synthetic, files["ad-synthetic"])
    write_documents([*synthetic, *documents_from_dataset(real)], files["ad-synthetic-and-real"])
    return files | ({"first-version": args.earlier / "train.jsonl"} if args.earlier else {})


def train_one(name: str, train_file: Path, args: argparse.Namespace) -> None:
    """Train on one file, score on real lines and synthetic splits, and write the record, unless there is one."""
    record, output = RECORDS / f"{name}.json", args.work / name
    if record.exists():
        return
    metrics = run_training(
        DatasetArguments(str(train_file), test=str(args.data / "ad_real/dev.jsonl"), validation_share=0.0),
        ModelArguments(
            encoder=str(args.data / "encoders/e5-small-zh-char"), encoder_layers=args.layers, lexicon="ad"
        ),
        AdnerTrainingArguments(
            output_dir=str(output), learning_rate=5e-4, num_train_epochs=args.epochs, seed=0, eval_strategy="no",
            save_strategy="no", load_best_model_at_end=False, disable_tqdm=True,
        ),
    )  # fmt: skip
    metrics["synthetic"] = synthetic_scores(output / MODEL_FOLDER)
    text = json.dumps(metrics, ensure_ascii=False, indent=1)
    for path, name in ((args.data, "DATA"), (args.work, "WORK"), (args.earlier, "EARLIER")):
        text = text.replace(str(path), name) if path else text
    write_file(record, [text, "\n"], "utf-8")


def synthetic_scores(model_folder: Path) -> dict[str, Any]:
    """Score the held-out splits of the synthetic corpus."""
    model = AdnerForTokenClassification.from_pretrained(model_folder)
    tokenizer = AdnerTokenizer.from_pretrained(model_folder)
    corpus = load_ner_dataset("ad-synthetic")
    return {name: evaluate_split(model, tokenizer, corpus[name], 32).to_dict() for name in SPLITS}


def markdown(records: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a table with a row per training corpus, and the F1 per label of the synthetic run."""
    heads = ["trained on", "documents", "layers, epochs", "`ad_real/dev`", "precision", "recall"]
    rows = []
    for name, record in records.items():
        real = record["test"]["strict"]
        cells = [real["f1"], real["precision"], real["recall"]]
        cells += [record["synthetic"][split]["strict"]["f1"] for split in SPLITS]
        shape = f"{record['model']['encoder_layers']}, {record['training']['num_train_epochs']:g}"
        rows.append((name, record["documents"]["train"], shape, *(f"{100 * cell:.1f}" for cell in cells)))
    table = markdown_table([*heads, *(f"`{split}`" for split in SPLITS)], rows)
    return f"{table}\n\n{label_table(records['ad-synthetic'])}"


def label_table(record: Mapping[str, Any]) -> str:
    """Return a table of the F1 per label of one run on each test split."""
    scored = {"ad_real/dev": record["test"], **record["synthetic"]}
    labels = list(record["synthetic"]["test"]["strict"]["per_label"])
    rows = []
    for name, report in scored.items():
        scores = report["strict"]["per_label"]
        cells = (f"{100 * scores[label]['f1']:.1f}" if label in scores else None for label in labels)
        rows.append((f"`{name}`", *cells))
    return markdown_table(["F1 per label, `ad-synthetic`", *labels], rows)


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with ad_real/ and encoders/")
    parser.add_argument("--earlier", type=Path, help="folder with train.jsonl of another version of the corpus")
    parser.add_argument("--work", type=Path, default=Path("runs/transfer"), help="folder for checkpoints")
    parser.add_argument("--layers", type=int, default=2, help="number of encoder layers to use")
    parser.add_argument("--epochs", type=float, default=2, help="passes over the training documents")
    parser.add_argument("--table", action="store_true", help="only write the tables")
    return parser.parse_args()


def main() -> None:
    """Do the missing runs, then write the tables."""
    args = parse()
    if not args.table:
        for name, train_file in sources(args).items():
            train_one(name, train_file, args)
    update_section(PAGE, HEADING, f"{HEADER}\n{markdown(load_records(RECORDS))}")


if __name__ == "__main__":
    main()
