"""Fields of argument dataclasses as options, read from the source of the package, which is not imported.

Only the standard library is imported, so that the help of a command does not wait for torch and transformers.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = "hf_adner"


class ArgumentField(NamedTuple):
    """A field of an argument dataclass; `default` is None where there is none or the source does not spell it."""

    name: str
    type: str
    help: str
    default: Any
    choices: list[str] | None


def add_dataclass(parser: argparse.ArgumentParser, reference: str) -> None:
    """Add the fields of a dataclass ("module:class") as options, a group for the class and for each of its bases."""
    for title, fields in argument_groups(reference):
        group = parser.add_argument_group(title)
        for field in fields:
            _add_field(group, field)


def argument_groups(reference: str) -> Iterator[tuple[str, list[ArgumentField]]]:
    """Yield summary and fields of a dataclass ("module:class") and of its bases in the package, read from source.

    A field that a class declares anew is left out of its base.
    """
    module, node = definition(*reference.split(":"))
    items = (item for item in node.body if isinstance(item, ast.AnnAssign) and isinstance(item.value, ast.Call))
    own = [_field(module, item) for item in items]
    yield ast.get_docstring(node).splitlines()[0].rstrip(".").replace("`", ""), own
    names = {field.name for field in own}
    for base in node.bases:
        if isinstance(base, ast.Name) and (found := definition(module, base.id)):
            for title, fields in argument_groups(f"{found[0]}:{base.id}"):
                yield title, [field for field in fields if field.name not in names]


def _field(module: str, item: ast.AnnAssign) -> ArgumentField:
    values = {keyword.arg: keyword.value for keyword in item.value.keywords}
    default = literal(module, values.get("default", values.get("default_factory")))
    entries = zip(values["metadata"].keys, values["metadata"].values)
    metadata = {key.value: literal(module, value) for key, value in entries}
    choices = metadata.get("choices")
    return ArgumentField(item.target.id, ast.unparse(item.annotation), metadata["help"], default, choices)


def _add_field(group: argparse._ArgumentGroup, field: ArgumentField) -> None:
    option, text, default = field.name.replace("_", "-"), field.help, field.default
    if field.type == "bool":
        names = [f"--{option}", f"--no-{option}"] if default else [f"--{option}"]
        group.add_argument(*names, action="store_true", help=text + " (default: yes)" * bool(default))
        return
    if default not in (None, []) and "default:" not in text:
        shown = " ".join(map(str, default)) if isinstance(default, list) else str(default)
        text += f" (default: {shown})".replace("%", "%%")
    kind = re.search("int|float", field.type)
    metavar = None if field.choices else {"int": "N", "float": "X"}[kind[0]] if kind else "TEXT"
    nargs = "+" if field.type.startswith("list") else None
    group.add_argument(f"--{option}", help=text, metavar=metavar, choices=field.choices, nargs=nargs)


def definition(module: str, name: str) -> tuple[str, Any] | None:
    """Return where the package defines a name and its syntax tree; None for a name from elsewhere."""
    found = definitions(module).get(name) if module.partition(".")[0] == PACKAGE else None
    return definition(*found) if isinstance(found, tuple) else found and (module, found)


@cache
def definitions(module: str) -> dict[str, Any]:
    """Return the syntax trees of a module's classes and values by name; of imported names (module, name)."""
    path = Path(importlib.util.find_spec(PACKAGE).submodule_search_locations[0], *module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    names: dict[str, Any] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.ClassDef(name=name):
                names[name] = node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                names[name] = node.value
            case ast.ImportFrom(module=source, level=0):
                names |= {alias.asname or alias.name: (source, alias.name) for alias in node.names}
    return names


def literal(module: str, node: ast.AST | None) -> Any:
    """Evaluate a literal, a constant of the package, or `list`, `range` or a lambda of these; None for anything else.

    A dictionary evaluates to its keys.
    """
    match node:
        case ast.Name(id=name) if found := definition(module, name):
            return literal(*found)
        case ast.Lambda(body=body):
            return literal(module, body)
        case ast.Call(func=ast.Name(id="list"), args=[argument]) if (items := literal(module, argument)) is not None:
            return list(items)
        case ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=stop)]):
            return range(stop)
        case ast.Tuple(elts=items) | ast.List(elts=items):
            return [literal(module, item) for item in items]
        case ast.Dict(keys=keys) if None not in keys:
            return [literal(module, key) for key in keys]
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return None
