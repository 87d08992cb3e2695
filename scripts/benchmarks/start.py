"""CPU time until the first answer: of `adner predict --text`, and of the libraries that it imports.

    python scripts/benchmarks/start.py MODEL [--before PATH] [--turns 5]

PATH is the root of another checkout: git worktree add --detach ../before COMMIT. The commands run in turns; a figure is
the least user time of a command's processes, which others on the machine disturb least. All modules are compiled before
the first turn. The command's own share is what it takes beyond importing the names of torch and transformers that the
package uses and loading the model as transformers does. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import compileall
import os
import resource
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
TEXT = "患者四肢屈侧反复红斑、丘疹伴瘙痒3年。"
NAMES = """
import torch
from transformers import AutoConfig, AutoModel, AutoModelForTokenClassification, AutoTokenizer, HfArgumentParser
from transformers import PreTrainedModel, TokenClassificationPipeline, TokenizersBackend
from transformers.models.auto.modeling_auto import MODEL_MAPPING
"""
MAPPING = """
from transformers.conversion_mapping import get_checkpoint_conversion_mapping
get_checkpoint_conversion_mapping("bert")  # transformers makes that of all its models
"""


def commands(model: str, roots: dict[str, Path]) -> dict[str, tuple[list[str], Path]]:
    """Name -> what is run, and the checkout whose package it imports."""
    python = [sys.executable, "-W", "ignore", "-c"]
    encoder = "from transformers.models.bert.modeling_bert import BertModel\n"
    found = {
        "Python": ([*python, ""], HERE),
        "`import torch`": ([*python, "import torch"], HERE),
        "`import torch, transformers`": ([*python, "import torch, transformers"], HERE),
        "the same, with the names that are used": ([*python, NAMES + encoder], HERE),
        "the same, with what transformers makes to load any model": ([*python, NAMES + encoder + MAPPING], HERE),
    }
    for name, root in roots.items():
        found[f"`import hf_adner`{name}"] = ([*python, "import hf_adner"], root)
        predict = [sys.executable, "-W", "ignore", str(root / "adner_cli.py"), "predict", model, "--text", TEXT]
        found[f"`adner predict --text`{name}"] = (predict, root)
    return found


def user_time(command: list[str], root: Path) -> float:
    """Run a command and return its user time in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)[:80]}: {done.stderr.strip()[-300:]}")
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a checkpoint with a BERT encoder")
    parser.add_argument("--before", type=Path, help="root of another checkout")
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    roots = {"": HERE, **({} if args.before is None else {", before": args.before.resolve()})}
    for root in roots.values():
        compileall.compile_dir(root / "hf_adner", quiet=2)
    runs = commands(str(Path(args.model).resolve()), roots)
    seconds = {name: min(values) for name, values in _turns(runs, args.turns).items()}
    print("| what | user CPU, s | beyond the line before, s |\n|---|---:|---:|")
    last = 0.0
    for name, own in seconds.items():
        base = last if "adner" not in name else list(seconds.values())[3 if "import" in name else 4]
        print(f"| {name} | {own:.2f} | {own - base:.2f} |")
        last = own
    print("\n`import hf_adner` is compared with the names that are used, `adner predict` with the line after that.")


def _turns(runs: dict[str, tuple[list[str], Path]], turns: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(turns):
        for name, run in runs.items():
            taken[name].append(user_time(*run))
    return taken


if __name__ == "__main__":
    main()
