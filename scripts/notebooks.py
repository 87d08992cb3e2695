"""Execute the notebooks and store their outputs: `python scripts/notebooks.py [NAME ...] [--small]`.

Each runs in an empty folder of its own with the package of this repository. What is stored holds no progress bars, no
standard error (that is printed here, for you to read) and nothing of this machine.
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
"""Names of users up to this length, such as root, are words that outputs may have."""


def notebook_paths(names: Sequence[str] = ()) -> list[Path]:
    """The notebooks whose names begin so; all of them for no names.

    Raises:
        ValueError: a name that no notebook begins with.
    """
    found = sorted(FOLDER.glob("*.ipynb"))
    for name in names:
        if not any(path.name.startswith(name) for path in found):
            raise ValueError(f"no notebook begins with {name!r}; there are {[path.name for path in found]}")
    return [path for path in found if not names or path.name.startswith(tuple(names))]


def execute(path: Path, small: bool = True, timeout: int = 3600) -> Any:
    """A notebook with fresh outputs, cleaned.

    Args:
        path: of the notebook; the file stays as it is.
        small: shrink its settings as far as they go.
        timeout: seconds a cell may take.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
        ValueError: an output tells of this machine.
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
    """The environment of a kernel: this repository's package first, no Hub."""
    paths = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"}
    environment.pop("MPLBACKEND", None)  # the kernel chooses its own
    return {**environment, SMALL: "1" if small else "0"}


def clean(notebook: Any, folder: str) -> Any:
    """Leave out progress and standard error, shorten paths, and set the metadata; changes the notebook.

    Args:
        notebook: executed.
        folder: where it ran.

    Raises:
        ValueError: what is left tells of this machine.
    """
    notebook.metadata.clear()
    notebook.metadata.update(METADATA)
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type == "code":
            cell.outputs = _joined([one for one in cell.outputs if not _is_noise(one)])
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
    """Neighbouring pieces of standard output as one."""
    joined: list[Any] = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream":
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def texts_of(output: Any) -> Iterator[tuple[str, str]]:
    """Kind and text of all that an output has in words."""
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
    """The text without what comes in front of a path inside the folder.

    Raises:
        ValueError: it names another place of this machine, its user or itself.
    """
    for place in {str(Path(folder).resolve()), folder}:
        text = text.replace(place + os.sep, "").replace(place, ".")
    names = {str(REPOSITORY), str(Path.home()), sys.prefix, tempfile.gettempdir() + os.sep, socket.gethostname()}
    names |= {name for name in [getpass.getuser()] if len(name) > LONGEST_COMMON_NAME}
    for name in names:
        if name in text:
            raise ValueError(f"an output of {len(text)} characters names a place or name of this machine ({len(name)})")
    return text


def main(argv: Sequence[str] | None = None) -> None:
    """Execute notebooks and write them back, each as soon as it is done."""
    import nbformat

    sys.path.insert(0, str(REPOSITORY))
    from hf_adner.files import write_file

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="what the notebooks' names begin with, such as 01 (default: all)")
    parser.add_argument("--small", action="store_true", help="shrink the settings, as the tests do")
    parser.add_argument("--timeout", type=int, default=3600, help="seconds a cell may take (default: %(default)s)")
    args = parser.parse_args(argv)
    for path in notebook_paths(args.names):
        notebook = execute(path, args.small, args.timeout)
        write_file(path, [nbformat.writes(notebook), "\n"], "utf-8")
        print(path.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
