"""Numbers in, numbers out: metrics that run no model.

Each file holds one metric as a pure function and, thin around it, an `evaluate.Metric` that also loads by path:
`evaluate.load("<this folder>/entity_f1.py")`. What several share lies in `spans`, `vectors`, `number_inputs`,
`similarity` and `role_windows`, the search for bounds in `removal_bounds`. The room imports no other room of the
package.

A file loaded by path is copied with the files it imports itself, not with what those import: a metric must import from
each file it needs, even at second hand.
"""
