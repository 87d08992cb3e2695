"""Cost of whole commands, `adner predict` and `adner rank`, for notes, here and in another checkout.

    python scripts/benchmarks/predict.py MODEL --before PATH [--notes 60] [--characters 1080] [--turns 2]

MODEL must load in both; PATH is the root of the other checkout: git worktree add --detach ../before COMMIT. The notes
are made of documents of ad-synthetic. Commands run in turns; a figure is the least processor time of a command's
processes, less that of the same command for a single short note. The entities that both find are compared first.
Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from start import HERE, user_time

from hf_adner.data.records import Document
from hf_adner.data.synthetic import generate_corpus
from hf_adner.files import write_file
from hf_adner.reporting import markdown_table

COMMANDS = ("predict", "rank")


def notes(number: int, characters: int) -> Iterator[str]:
    """Yield texts of a length, each of documents one after the other."""
    documents: Iterator[Document] = iter(generate_corpus(5, {"train": 2 + number * characters // 20})["train"])
    for _ in range(number):
        text = ""
        while len(text) < characters:
            text += next(documents).text + "\n"
        yield text[:characters]


def write_notes(path: Path, texts: Iterator[str] | list[str]) -> Path:
    """Write texts as JSON Lines."""
    records = (json.dumps({"id": str(number), "text": text}, ensure_ascii=False) for number, text in enumerate(texts))
    write_file(path, [f"{record}\n" for record in records], "utf-8")
    return path


def entities(path: Path) -> set[tuple[str, int, int, str]]:
    """Return the entities of a file of predictions."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        (record["id"], entity["start"], entity["end"], entity["label"])
        for record in records
        for entity in record["entities"]
    }


def main() -> None:
    """Time the commands in turns and print their costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--before", type=Path, required=True, help="root of the other checkout")
    parser.add_argument("--notes", type=int, default=60)
    parser.add_argument("--characters", type=int, default=1080, help="of a note")
    parser.add_argument("--turns", type=int, default=2)
    args = parser.parse_args()
    model, roots = str(args.model.resolve()), {"before": args.before.resolve(), "now": HERE}
    with tempfile.TemporaryDirectory() as folder:
        many = write_notes(Path(folder, "notes.jsonl"), notes(args.notes, args.characters))
        one = write_notes(Path(folder, "note.jsonl"), ["面部红斑。"])
        times: dict[tuple[str, str, Path], list[float]] = {}
        for turn in range(args.turns):
            for command in COMMANDS:
                for name, root in roots.items():
                    for file in (one, many):
                        output = Path(folder, f"{command}-{name}-{turn}-{file.name}")
                        line = [
                            sys.executable,
                            "-m",
                            "hf_adner.cli",
                            command,
                            model,
                            str(file),
                            "--output",
                            str(output),
                        ]
                        times.setdefault((command, name, file), []).append(user_time(line, root))
        found = {name: entities(Path(folder, f"predict-{name}-0-{many.name}")) for name in roots}
    common = len(found["before"] & found["now"])
    print(f"entities: {len(found['before'])} before, {len(found['now'])} now, {common} the same\n")
    rows = []
    for command in COMMANDS:
        cost = {name: min(times[command, name, many]) - min(times[command, name, one]) for name in roots}
        rows.append((f"adner {command}", *cost.values(), min(times[command, "now", one]), cost["before"] / cost["now"]))
    print(markdown_table(("command", "before, s", "now, s", "start, s", "before / now"), rows))


if __name__ == "__main__":
    main()
