"""Explanations of single entities: explained quantity, local explainers, global table, fusion, records."""
