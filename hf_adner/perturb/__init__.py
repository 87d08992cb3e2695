"""Perturbations of documents, each with what became of every character and entity."""

from importlib import import_module

_HOMES = {
    "CharacterAlignment": "alignment",
    "EntitySurfaces": "entities",
    "MaskedLanguageModel": "masked_lm",
    "OuterUnits": "neighbours",
    "PERTURBATIONS": "registry",
    "Perturbation": "perturbation",
    "Perturbed": "perturbed",
    "SimilarWords": "similar_words",
    "StoredProposals": "masked_lm",
    "Terms": "terms",
    "ViewMaker": "views",
    "ViewMaterials": "views",
    "add_embedding_noise": "embeddings",
    "make_perturbation": "registry",
    "make_view": "views",
    "masked_tokens": "perturbed",
    "protected_spans": "protected",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
