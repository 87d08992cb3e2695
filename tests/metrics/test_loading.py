"""Every metric of the room loads by path, offline and without the package."""

import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import evaluate

import hf_adner.metrics

FOLDER = Path(hf_adner.metrics.__file__).parent
LOAD = """
import json, sys
import evaluate
found = {}
for path in sys.argv[2:]:
    metric = evaluate.load(path, cache_dir=sys.argv[1])
    found[path] = [type(metric).__name__, sorted(metric.features), bool(metric.description)]
assert "hf_adner" not in sys.modules
print(json.dumps(found))
"""


def metric_classes() -> dict[str, type]:
    """File -> the metric it defines."""
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        module = importlib.import_module(f"hf_adner.metrics.{path.stem}")
        own = [
            one
            for _, one in inspect.getmembers(module, inspect.isclass)
            if issubclass(one, evaluate.Metric) and one.__module__ == module.__name__
        ]
        assert len(own) <= 1, f"{path.name}: evaluate takes the first of several"
        if own:
            found[str(path)] = own[0]
    return found


def test_every_metric_loads_by_path_without_the_package(tmp_path):
    classes = metric_classes()
    assert len(classes) >= 16
    command = [sys.executable, "-c", LOAD, str(tmp_path / "cache"), *classes]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr[-2000:]
    loaded = json.loads(run.stdout.splitlines()[-1])
    for path, metric_class in classes.items():
        features = sorted(metric_class(cache_dir=str(tmp_path)).features)
        assert loaded[path] == [metric_class.__name__, features, True]
