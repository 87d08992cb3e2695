"""Numbers in, numbers out: metrics that run no model.

Each file holds one metric as a pure function and, thin around it, an `evaluate.Metric` that also loads by path:
`evaluate.load("<this folder>/entity_f1.py")`. The room imports no other room of the package.
"""
