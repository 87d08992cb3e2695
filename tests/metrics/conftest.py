from pathlib import Path

import evaluate
import pytest


@pytest.fixture(params=["class", "path"])
def load(request, tmp_path):
    """A function from a metric's module and class to the metric: the class itself, or the file loaded by path."""

    def load_metric(module, metric_class):
        if request.param == "class":
            return metric_class(cache_dir=str(tmp_path))
        metric = evaluate.load(str(Path(module.__file__)), cache_dir=str(tmp_path))
        assert type(metric).__name__ == metric_class.__name__
        return metric

    return load_metric
