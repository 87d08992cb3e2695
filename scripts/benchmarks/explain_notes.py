"""Time explanations of all entities of a note against tagging it, and compare them with an older version of the code.

    git worktree add ../before 41b81f2
    python scripts/benchmarks/explain_notes.py --model runs/quickstart/model [--before ../before] [--lengths 300 3000]
    python scripts/benchmarks/explain_notes.py --layers 12 --size 384 --lengths 3000    # random weights, for time alone

Notes are documents of ad-synthetic joined to a length. Times are processor seconds of one thread, so that other work on
the machine matters little; each ratio is to tagging the same note in the same process. First the versions must agree:
the same entities, and on a short note the same scores. Integrated gradients are timed with two steps on 510 characters,
as their cost is proportional to the steps. Prints a Markdown table, and one of the rank correlation of explanations in
crops of several contexts with those that read as much as the model takes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SHORT = 150
"""Characters of the note on which scores must be equal."""
PATH_NOTE, PATH_STEPS = 510, 2
AGREEMENT_ENTITIES = 24
CONTEXTS, NEAR = (64, 128, 192), 32
"""Contexts whose crops are compared with whole windows; characters around an entity compared by themselves."""
NAMES = ["fused-fast", "fused", "page", "integrated-gradients", "agreement"]
TOLERANCE = 1e-3
SOURCE = ""
"""Text that notes are cut from; processes get it on standard input."""
GOALS = {"fused-fast": 45, "fused": 200, "page": 60}


def seconds(run: Callable[[], Any]) -> float:
    """Return the processor time of a call."""
    began = time.process_time()
    run()
    return time.process_time() - began


def source() -> str:
    """Return the text that notes are cut from."""
    from hf_adner import load_ner_dataset

    return "\n".join(load_ner_dataset("ad-synthetic")["test"]["text"][:80])


def load(model: str, text: str) -> tuple[Any, Any]:
    """Return model and tokenizer."""
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    from hf_adner import AdnerForTokenClassification, AdnerTokenizer

    if Path(model).is_dir():
        return AutoModelForTokenClassification.from_pretrained(model), AutoTokenizer.from_pretrained(model)
    import torch

    layers, size = map(int, model.split("x"))
    encoder = {
        "model_type": "bert",
        "hidden_size": size,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, size // 32),
        "intermediate_size": 4 * size,
    }
    torch.manual_seed(0)
    tokenizer = AdnerTokenizer.from_texts([text])
    types = ["BodySite", "Disease", "Drug", "Symptom"]
    return (
        AdnerForTokenClassification.from_scratch(tokenizer, types, "bert-crf", encoder_config=encoder),
        tokenizer,
    )


def measure(task: dict[str, Any]) -> dict[str, Any]:
    """Run one task in this process and return its figures."""
    import torch

    from hf_adner import AdnerPipeline, make_explainer

    torch.set_num_threads(1)
    text = sys.stdin.read()
    model, tokenizer = load(task["model"], text)
    note = text[: task["length"]]
    pipe = AdnerPipeline(model=model.eval(), tokenizer=tokenizer)
    spans = [(one["start"], one["end"], one["entity_group"]) for one in pipe(note)]
    if not Path(task["model"]).is_dir():  # random weights find nonsense
        spans = [(start, start + 3, "Symptom") for start in range(4, len(note) - 4, 9)]
    tagging = [seconds(lambda: pipe(note)) for _ in range(3)]
    name, options = task["name"], task.get("options", {})
    found: dict[str, Any] = {"spans": spans}
    if name == "page":
        found["seconds"] = seconds(lambda: write_page(task["model"], note))
    elif name == "agreement":
        return {"agreement": agreement(task["explainer"], model, tokenizer, note, spans)}
    else:
        if name.startswith("fused"):
            options["global_table"] = table_for(name, model, tokenizer)
        explainer = make_explainer(name, model, tokenizer, **options)
        found["seconds"] = seconds(lambda: found.update(scores=[one.scores for one in explainer([note], [spans])[0]]))
    tagging += [seconds(lambda: pipe(note)) for _ in range(3)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    scores = found.pop("scores", [])
    return {
        **found,
        "tagging": statistics.median(tagging),
        "peak": peak,
        "scores": scores if task.get("keep_scores") else [],
    }


def table_for(name: str, model: Any, tokenizer: Any) -> Any:
    """Return a table of a few documents: its size does not matter for the time."""
    from hf_adner import Document, Entity, make_explainer
    from hf_adner.explain.table_building import build_global_table

    local = "grad-x-input" if name == "fused-fast" else "occlusion"
    document = Document("d", "面部红斑伴瘙痒。", (Entity(2, 4, "Symptom"),))
    return build_global_table(make_explainer(local, model, tokenizer), [document], progress=False)


def write_page(model: str, note: str) -> None:
    """Write the page of a note as `adner explain` does by default."""
    from hf_adner import Document
    from hf_adner.explain.documents import ExplainedCheckpoint
    from hf_adner.view.output import run_explanations

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = ExplainedCheckpoint.load(model, device="cpu")
        run_explanations(checkpoint, [Document("note", note)], Path(folder) / "page.html")


def agreement(name: str, model: Any, tokenizer: Any, note: str, spans: list[Any]) -> dict[int, dict[str, float]]:
    """Compare crops with whole windows, on entities spread over the note.

    Returns:
        Context -> rank correlations: ``mean`` and ``least`` over the characters of the crop, ``near`` the mean over
        those within `NEAR` of the entity; and ``entities``, their number.
    """
    from hf_adner import make_explainer
    from hf_adner.metrics.similarity import spearman

    chosen = spans[:: max(1, len(spans) // AGREEMENT_ENTITIES)]
    found, windows = {}, make_explainer(name, model, tokenizer, context=None)([note], [chosen])[0]
    for context in CONTEXTS:
        crops = make_explainer(name, model, tokenizer, context=context)([note], [chosen])[0]
        values, near = [], []
        for crop, window in zip(crops, windows):
            first, after = crop.details["window"]
            values.append(spearman(crop.scores[first:after], window.scores[first:after]))
            first, after = max(first, crop.span[0] - NEAR), min(after, crop.span[1] + NEAR)
            near.append(spearman(crop.scores[first:after], window.scores[first:after]))
        mean, least = statistics.fmean(values), min(values)
        found[context] = {"mean": mean, "least": least, "near": statistics.fmean(near), "entities": len(values)}
    return found


def run(task: dict[str, Any], code: str | None = None) -> dict[str, Any]:
    """Run a task in a process of its own, with this package or that of another folder."""
    here = Path(__file__).resolve()
    place = here.parents[2] if code is None else Path(code).resolve()
    environment = {**os.environ, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"}
    command = [sys.executable, str(here), "--task", json.dumps(task)]
    done = subprocess.run(command, input=SOURCE, env=environment, cwd=place, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{task}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def check_equal(model: str, before: str) -> None:
    """Raise unless both versions find the same entities, and explain a short note alike."""
    for name in ("grad-x-input", "occlusion", "integrated-gradients"):
        task = {"name": name, "model": model, "length": SHORT, "keep_scores": True}
        own = {} if name == "occlusion" else {"options": {"spread_words": False}}
        one, other = run({**task, **own}), run(task, before)
        if one["spans"] != other["spans"]:
            raise SystemExit(f"{name}: the versions find other entities")
        for mine, theirs in zip(one["scores"], other["scores"], strict=True):
            largest = max(map(abs, theirs))
            if any(abs(a - b) > TOLERANCE * largest for a, b in zip(mine, theirs, strict=True)):
                raise SystemExit(f"{name}: the versions give other scores")
    print(f"equal scores on {SHORT} characters: grad-x-input, occlusion, integrated-gradients\n")


def line(name: str, length: int, found: dict[str, Any], before: dict[str, Any] | None) -> str:
    """Return a line of the table."""
    ratio = found["seconds"] / found["tagging"]
    goal = GOALS.get(name)
    old = "–" if before is None else f"{before['seconds'] / before['tagging']:.0f}×, {before['peak']:.0f}"
    met = "–" if goal is None else f"{goal}×, {'met' if ratio <= goal else 'MISSED'}"
    return (
        f"| {name} | {length} | {len(found['spans'])} | {found['tagging']:.2f} | {found['seconds']:.1f} | "
        f"{ratio:.0f}× | {found['peak']:.0f} | {met} | {old} |"
    )


def main() -> None:
    """Run the tasks and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="checkpoint folder (default: a random model of --layers and --size)")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--lengths", type=int, nargs="+", default=[300, 3000])
    parser.add_argument("--names", nargs="+", default=NAMES, help=f"what to time, of {', '.join(NAMES)}")
    parser.add_argument("--before", help="folder of an older version of the repository")
    parser.add_argument("--before-length", type=int, default=300, help="longest note that the older version explains")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.task:
        print(json.dumps(measure(json.loads(args.task))))
        return
    global SOURCE
    SOURCE = source()
    model = str(Path(args.model).resolve()) if args.model else f"{args.layers}x{args.size}"
    if args.before:
        check_equal(model, args.before)
    print(
        "| what | characters | entities | tagging, s | explaining, s | ratio | peak, MiB | goal | before: ratio, MiB |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---|---|")
    older = {"fused-fast": "grad-x-input", "fused": "occlusion"}
    timed = [name for name in args.names if name in NAMES[: 3 if args.model else 2]]
    for length in args.lengths:
        for name in timed:
            old = None
            if args.before and length <= args.before_length:
                old = run({"name": older.get(name, name), "model": model, "length": length}, args.before)
            print(line(name, length, run({"name": name, "model": model, "length": length}), old), flush=True)
    if "integrated-gradients" in args.names:
        path = {"name": "integrated-gradients", "model": model, "length": PATH_NOTE, "options": {"steps": PATH_STEPS}}
        old = run(path, args.before) if args.before else None
        print(line("integrated-gradients", PATH_NOTE, run(path), old), flush=True)
    if args.model and "agreement" in args.names:
        print_agreement(model)


def print_agreement(model: str) -> None:
    """Print the table of crops against whole windows."""
    print(f"\n| crops and whole windows | context | entities | mean | least | within {NEAR} |")
    print("|---|---:|---:|---:|---:|---:|")
    for name in ("grad-x-input", "occlusion"):
        task = {"name": "agreement", "explainer": name, "model": model, "length": 2 * PATH_NOTE}
        for context, found in run(task)["agreement"].items():
            figures = " | ".join(f"{found[key]:.3f}" for key in ("mean", "least", "near"))
            print(f"| {name} | {context} | {found['entities']} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
