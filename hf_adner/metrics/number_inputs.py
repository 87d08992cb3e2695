"""What an `evaluate.Metric` over numbers takes: columns of numbers and of rows of numbers, one entry per entity.

Lists, tuples, arrays and tensors will do. An entry may be `None` where a metric says what that means.
"""

from typing import Any, ClassVar

import datasets
import evaluate

NUMBER = datasets.Value("float64")
INTEGER = datasets.Value("int64")
WORD = datasets.Value("string")
ROW = [NUMBER]
INTEGER_ROW = [INTEGER]
ROWS = [[NUMBER]]


class NumberInputs:
    """Columns of an `evaluate.Metric`, as `columns`: name -> feature.

    Put before `evaluate.Metric` among the bases, with `summary`, `inputs` and `columns` as class attributes.
    """

    summary: ClassVar[str]
    inputs: ClassVar[str]
    columns: ClassVar[dict[str, Any]]

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=self.summary,
            citation="",
            inputs_description=self.inputs,
            features=datasets.Features(self.columns),
        )

    def add_batch(self, **columns) -> None:
        """Add several entities: one entry of every column for each."""
        super().add_batch(**{name: plain(column) for name, column in columns.items()})


def plain(values: Any) -> Any:
    """Arrays, tensors and tuples as lists, to any depth; everything else as it is."""
    if hasattr(values, "tolist"):
        return values.tolist()
    if isinstance(values, (list, tuple)):
        return [plain(value) for value in values]
    return values
