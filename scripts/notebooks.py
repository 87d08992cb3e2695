"""Execute the notebooks and store their outputs: `python scripts/notebooks.py [NAME ...] [--small]`.

Each notebook runs in an empty folder with the package of this repository. Stored outputs contain no progress bars, no
standard error (it is printed here instead) and no paths or names of this machine.
"""

from __future__ import annotations

import argparse
import getpass
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / "notebooks"
SMALL = "HF_ADNER_NOTEBOOK_SMALL"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
    "colab": {"provenance": []},
}
PROGRESS = re.compile(r"<progress|application/vnd\.jupyter\.widget|\d+%\|")
LONGEST_COMMON_NAME = 4
"""User names up to this length, such as root, may occur in outputs as words."""


def notebook_paths(names: Sequence[str] = ()) -> list[Path]:
    """Return the notebooks whose file names begin with one of `names`; all without names.

    Raises:
        ValueError: no notebook begins with a name.
    """
    paths = sorted(FOLDER.glob("*.ipynb"))
    for name in names:
        if not any(path.name.startswith(name) for path in paths):
            raise ValueError(f"no notebook begins with {name!r}, expected one of {[path.name for path in paths]}")
    return [path for path in paths if not names or path.name.startswith(tuple(names))]


def execute(path: Path, small: bool = True, timeout: int = 3600) -> Any:
    """Execute a notebook and return it with cleaned outputs.

    Args:
        path: notebook; the file is not changed.
        small: use the smallest settings.
        timeout: maximum seconds per cell.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
        ValueError: an output contains a path or name of this machine.
    """
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook, timeout=timeout, resources={"metadata": {"path": folder}}, record_timing=False
        )
        client.execute(env=kernel_environment(small))
        return clean(notebook, folder)


def kernel_environment(small: bool) -> dict[str, str]:
    """Return the environment of a kernel: this repository first in the path, Hub offline."""
    paths = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"}
    environment.pop("MPLBACKEND", None)  # the kernel sets its own
    return {**environment, SMALL: "1" if small else "0"}


def clean(notebook: Any, folder: str) -> Any:
    """Remove progress and standard error, shorten paths and set the metadata, in place.

    Args:
        notebook: executed notebook.
        folder: folder that it ran in.

    Raises:
        ValueError: an output contains a path or name of this machine.
    """
    notebook.metadata.clear()
    notebook.metadata.update(METADATA)
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs = _joined([output for output in cell.outputs if not _is_noise(output)])
            for output in cell.outputs:
                output.get("metadata", {}).clear()
                _rewrite(output, folder)
    return notebook


def _is_noise(output: Any) -> bool:
    if output.output_type == "stream" and output.name == "stderr":
        print(output.text, file=sys.stderr)
        return True
    return bool(PROGRESS.search("".join([*output.get("data", {}), *(text for _, text in texts_of(output))])))


def _joined(outputs: Sequence[Any]) -> list[Any]:
    """Join neighbouring pieces of standard output."""
    joined: list[Any] = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream":
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def texts_of(output: Any) -> Iterator[tuple[str, str]]:
    """Yield (kind, text) of all textual contents of an output."""
    if output.output_type == "stream":
        yield "text", output.text
    for kind, content in output.get("data", {}).items():
        if kind.startswith("text/"):
            yield kind, content


def _rewrite(output: Any, folder: str) -> None:
    if output.output_type == "stream":
        output.text = _portable(output.text, folder)
    for kind, content in output.get("data", {}).items():
        if kind.startswith("text/"):
            output["data"][kind] = _portable(content, folder)


def _portable(text: str, folder: str) -> str:
    """Make paths inside the folder relative.

    Raises:
        ValueError: the text contains another path, the user or the name of this machine.
    """
    for place in {str(Path(folder).resolve()), folder}:
        text = text.replace(place + os.sep, "").replace(place, ".")
    names = {str(REPOSITORY), str(Path.home()), sys.prefix, tempfile.gettempdir() + os.sep, socket.gethostname()}
    names |= {name for name in [getpass.getuser()] if len(name) > LONGEST_COMMON_NAME}
    for name in names:
        if name in text:
            raise ValueError(
                f"an output of {len(text)} characters contains a path or name of this machine ({len(name)} characters)"
            )
    return text


def main(argv: Sequence[str] | None = None) -> None:
    """Execute notebooks and write them back, each as soon as it is done."""
    import nbformat

    sys.path.insert(0, str(REPOSITORY))
    from hf_adner.files import write_file

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="first characters of notebook names, such as 01 (default: all)")
    parser.add_argument("--small", action="store_true", help="use the smallest settings, as the tests do")
    parser.add_argument("--timeout", type=int, default=3600, help="maximum seconds per cell (default: %(default)s)")
    args = parser.parse_args(argv)
    for path in notebook_paths(args.names):
        notebook = execute(path, args.small, args.timeout)
        write_file(path, [nbformat.writes(notebook), "\n"], "utf-8")
        print(path.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
