"""What methods, targets, roles and changes are called on a page that is read by people who did not build the model."""

from __future__ import annotations

METHODS = {
    "grad-x-input": "how strongly the decision reacts to each character (gradient × input)",
    "integrated-gradients": "how much each character added on the way from an empty text (integrated gradients)",
    "occlusion": "how much the decision weakens when a character is hidden (occlusion)",
    "lime": "a linear model of the decision over texts with hidden characters (LIME)",
    "kernel-shap": "each character's fair share over texts with hidden characters (KernelSHAP)",
    "attention": "attention weighted with its gradient",
    "global": "what the model usually goes by for this label, over a whole corpus",
    "fused": "this text's own explanation joined with what the model usually goes by",
    "amortised": "what a trained explainer head expects the explanation to be",
}
TARGETS = {
    "label": "why these characters are labelled {label}",
    "start": "why the entity begins here",
    "end": "why the entity ends here",
    "span": "why exactly this span is labelled {label}",
}
ROLES = {
    "left-context": "before it",
    "left-edge": "its first character",
    "middle": "its middle",
    "right-edge": "its last character",
    "right-context": "behind it",
}
PERTURBATIONS = {
    "context-masking": "some characters of the context hidden",
    "punctuation": "signs and spaces written differently",
    "clause-shuffle": "clauses in another order",
    "confusions": "characters mistyped in the context",
    "outer-neighbour": "the character beside the entity changed",
    "start-edit": "its first character hidden",
    "end-edit": "its last character hidden",
    "interior-edit": "a character in its middle hidden",
}
SERIES = {"local": "this text", "global": "the corpus"}


def method_in_words(name: str) -> str:
    """What a method measures; the name itself if it is not one of ours."""
    return METHODS.get(name, name)


def target_in_words(name: str, label: str) -> str:
    """The question that is answered; the name itself if it is not one of ours."""
    return TARGETS.get(name, name).format(label=label) if name in TARGETS else name


def perturbation_in_words(name: str) -> str:
    """What was done to the text."""
    return PERTURBATIONS.get(name, name)
