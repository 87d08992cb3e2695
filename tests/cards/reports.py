"""Reports with round figures, as a run and the audits write them."""

from hf_adner.cards.record import CardOptions


def scores(correct: int, predicted: int, support: int) -> dict:
    both = predicted + support
    return {
        "precision": correct / predicted if predicted else 0.0,
        "recall": correct / support if support else 0.0,
        "f1": 2 * correct / both if both else 0.0,
        "correct": correct,
        "predicted": predicted,
        "support": support,
    }


def evaluation(labels=("Disease", "Symptom")) -> dict:
    """An evaluation report: of each label 8 of 10 found in 12 gold entities."""
    size = len(labels)
    strict = {**scores(8 * size, 10 * size, 12 * size), "macro_f1": 0.7}
    strict["per_label"] = {label: scores(8, 10, 12) for label in sorted(labels)}
    edges = {edge: scores(9 * size, 10 * size, 12 * size) for edge in ("start", "end", "both")}
    counts = {"documents": 20, "characters": 900, "predicted": 10 * size, "gold": 12 * size}
    return {
        **counts,
        "flattened_gold": 12 * size - 1,
        "strict": strict,
        "strict_flattened": strict,
        "boundaries": {"untyped": edges, "typed": edges},
    }


def statistics(labels=("Disease", "Symptom")) -> dict:
    quantiles = {"0%": 4, "25%": 20, "50%": 40, "75%": 60, "90%": 90, "100%": 1200}
    split = {
        "documents": 100, "empty": 7, "characters": 4200, "entities": 50 * len(labels), "nested": 3,
        "labels": dict.fromkeys(labels, 50), "surfaces": dict.fromkeys(labels, 31),
        "text_lengths": quantiles, "entity_lengths": quantiles, "density": 2.381,
    }  # fmt: skip
    pairs = {"train in test": 0.3, "test in train": 0.456}
    return {"splits": {"train": split, "test": split}, "seen_entities": pairs, "near_duplicates": pairs}


def metrics(labels=("Disease", "Symptom"), **others) -> dict:
    """What a run writes to `metrics.json`, on a machine with folders that nobody should read of."""
    known = {
        "labels": list(labels),
        "dataset": {"dataset": "/home/wang/wards/derma/train.jsonl", "test": "/home/wang/t.jsonl", "max_length": 256},
        "model": {
            "architecture": "m-dscmg", "encoder": "hfl/chinese-macbert-base", "encoder_layers": None,
            "lexicon": "/srv/words.tsv+train", "word_vectors": "/srv/vectors/medical.txt",
        },
        "base_model": "hfl/chinese-macbert-base",
        "training": {"learning_rate": 5e-5, "num_train_epochs": 10.0, "seed": 42, "early_stopping_patience": None},
        "lexicon_words": 7890,
        "lexicon_origin": "mix",
        "parameters": 103_456_789,
        "steps": 940,
        "train_seconds": 5025.4,
        "hardware": {"accelerator": "none", "accelerators": 0, "cpu": "x86_64", "cores": 4, "threads": 2},
        "versions": {"hf_adner": "0.1.0", "Python": "3.11.9", "transformers": "5.23.0"},
        "validation": evaluation(labels),
        "test": evaluation(labels),
        "statistics": statistics(labels),
        "calibration": {"ece": 0.0312, "brier": 0.12, "aurc": 0.05, "accuracy": 0.8, "mean_confidence": 0.83,
                        "entities": 20, "intervals": {"ece": {"low": 0.01, "high": 0.07}},
                        "risk_coverage": [{"coverage": 0.5, "risk": 0.0}, {"coverage": 1.0, "risk": 0.2}]},
        "examples": [
            {"text": "面部红斑伴瘙痒。", "entities": [{"word": "红斑", "entity_group": "Symptom", "score": 0.987}]},
            {"text": "一切正常。", "entities": []},
        ],
    }  # fmt: skip
    return {**known, **others}


def explanations() -> dict:
    interval = {"mean": 0.81234, "low": 0.75, "high": 0.86, "entities": 150}
    unmeasured = {"mean": None, "low": None, "high": None, "entities": 0}
    return {
        "explainers": {
            "occlusion": {"entities": 150, "coverage": 0.9, "cosine": interval, "agreement": interval},
            "fused": {"entities": 150, "coverage": 0.9, "cosine": interval, "agreement": unmeasured},
        },
        "population": {"documents": 20, "gold": 240, "found": 190, "coverage": 0.79, "entities": 150},
        "model": {"boundary_sensitivity": {"start": 0.9, "end": 0.8, "start_log_odds": 7.5, "outer": 0.01}},
        "settings": {"views": 2},
    }


def robustness() -> dict:
    return {
        "documents": 20,
        "f1": 0.8,
        "families": {
            "confusions": {"f1": 0.7, "clean_f1": 0.8, "degradation": 0.125, "coverage": 0.95},
            "virtual-boundary": {"f1": 0.8, "clean_f1": 0.8, "degradation": float("nan"), "coverage": 0.0},
        },
        "recall": {"seen_recall": 0.9, "unseen_recall": 0.5, "seen": 200, "unseen": 40},
    }


OPTIONS = CardOptions(model_title="Derma tagger", dataset_title="Derma notes", model_license="apache-2.0")
