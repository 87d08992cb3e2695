"""Metrics: pure functions of numbers and spans. They run no model and import no other room of the package.

Each file except `inputs` and `similarity` has one metric, as a function and as an `evaluate.Metric` that also loads by
path: `evaluate.load("<this folder>/entity_f1.py")`. `evaluate` loads the first metric class of a file, so every metric
has its own file, however short. It copies the file with the files that it imports, but not with what those import in
turn: a metric must itself import from every file that it needs, even indirectly.
"""
