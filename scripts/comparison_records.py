"""Keep the records of `comparison.py` in one compressed file.

    python scripts/comparison_records.py pack runs/comparison model_cards/results/guided/records.jsonl.xz
    python scripts/comparison_records.py unpack model_cards/results/guided/records.jsonl.xz runs/comparison

Packing adds to the records that the file already has; unpacking writes those that the folder lacks, so that a
comparison goes on where it was packed. A record that differs from the one already there is an error, and changes
nothing.
"""

from __future__ import annotations

import argparse
import json
import lzma
from collections.abc import Mapping
from pathlib import Path

from hf_adner.comparison.comparison import RECORDS
from hf_adner.files import output_file, write_file

Texts = Mapping[str, str]
"""File name -> JSON text of a record."""


def read_archive(path: Path) -> dict[str, str]:
    """Return the records of an archive.

    Raises:
        ValueError: the file is not an archive of records.
    """
    try:
        lines = lzma.decompress(path.read_bytes()).decode("utf-8").splitlines()
        return dict(json.loads(line) for line in lines)
    except (lzma.LZMAError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is not an archive of records ({type(error).__name__})") from error


def read_folder(work: Path) -> dict[str, str]:
    """Return the records below a folder of a comparison."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((work / RECORDS).glob("*.json"))}


def joined(first: Texts, second: Texts) -> dict[str, str]:
    """Return the records of both, sorted by name.

    Raises:
        ValueError: a record differs.
    """
    if differing := sorted(name for name in first.keys() & second.keys() if first[name] != second[name]):
        raise ValueError(f"{len(differing)} records differ, the first is {differing[0]}; remove those that are wrong")
    return dict(sorted({**first, **second}.items()))


def pack(work: Path, archive: Path) -> int:
    """Add the records of a folder to an archive, and return how many it then has; it is written whole or not at all."""
    records = joined(read_archive(archive) if archive.exists() else {}, read_folder(work))
    text = "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in records.items())
    with output_file(archive) as file:
        file.write(lzma.compress(text.encode("utf-8"), preset=9))
    return len(records)


def unpack(archive: Path, work: Path) -> int:
    """Write the records that a folder lacks, and return how many it then has."""
    present = read_folder(work)
    records = joined(read_archive(archive), present)
    for name in records.keys() - present.keys():
        write_file(work / RECORDS / name, [records[name]], "utf-8")
    return len(records)


def main() -> None:
    """Pack or unpack."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("pack", "unpack"))
    parser.add_argument("source", type=Path, help="folder to pack, or archive to unpack")
    parser.add_argument("target", type=Path, help="archive to add to, or folder to write to")
    args = parser.parse_args()
    print({"pack": pack, "unpack": unpack}[args.action](args.source, args.target), "records")


if __name__ == "__main__":
    main()
