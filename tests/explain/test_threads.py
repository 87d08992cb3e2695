"""What several threads make of one model is what each makes alone."""

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
import torch
from transformers import TokenizersBackend

from hf_adner import AdnerPipeline
from hf_adner.explain.explainers import make_explainer

PATIENCE = 60
"""Seconds after which a thread that was never met is given up."""


def together(model, first, second, nested):
    """Run `second` in a thread of its own, begun in the first forward pass of `first`.

    Nested, it ends there too. Otherwise its first forward pass waits for the end of `first`.
    """
    main, met, over = threading.get_ident(), threading.Event(), threading.Event()
    started = []

    def meet(*_):
        if threading.get_ident() != main:
            met.set()
            assert nested or over.wait(PATIENCE)
        elif not started:
            started.append(pool.submit(second))
            assert met.wait(PATIENCE)
            if nested:
                started[0].result(PATIENCE)

    with ThreadPoolExecutor(1) as pool:
        handle = model.register_forward_pre_hook(meet)
        try:
            own = first()
        finally:
            over.set()
            handle.remove()
        return own, started[0].result(PATIENCE)


def task(case, name):
    """What a thread does: explain the case's entities, or find entities."""
    if name == "pipeline":
        pipe = AdnerPipeline(case.model, case.tokenizer, device="cpu")
        return lambda: pipe(case.texts * 3, batch_size=2)
    explain = make_explainer(name, case.model, case.tokenizer)
    return lambda: [
        (one.scores, one.value, [word.score for word in one.lexicon])
        for explanations in explain(case.texts, case.entities)
        for one in explanations
    ]


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(
    "first, second",
    [
        ("pipeline", "pipeline"),
        ("grad-x-input", "pipeline"),
        ("integrated-gradients", "grad-x-input"),
        ("attention", "attention"),
        ("occlusion", "attention"),
    ],
)
def test_two_threads_find_what_each_finds_alone(build, first, second, nested):
    case = build("m-dscmg", head_dropout=0.4)
    tasks = task(case, first), task(case, second)
    alone = tuple(one() for one in tasks)
    case.model.train()
    assert together(case.model, *tasks, nested) == alone


def test_two_threads_explain_a_stock_model(stock):
    explain = task(stock, "attention")
    alone = explain()
    assert together(stock.model, explain, explain, nested=False) == (alone, alone)


def test_a_tokenizer_pads_and_truncates_for_one_thread_at_a_time(tokenizer, monkeypatch):
    texts, main, settle = ["红斑瘙痒", "痒"], threading.get_ident(), TokenizersBackend.set_truncation_and_padding
    expected, others = tokenizer(texts)["input_ids"], []

    def disturbed(self, *args, **kwargs):
        settle(self, *args, **kwargs)
        if threading.get_ident() == main:
            options = {"padding": True, "truncation": True, "max_length": 4}
            others.append(pool.submit(lambda: tokenizer(texts, **options)["input_ids"]))
            wait(others, timeout=0.1)  # it cannot end before this call

    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as patch:
        patch.setattr(TokenizersBackend, "set_truncation_and_padding", disturbed)
        assert tokenizer(texts)["input_ids"] == expected
        assert [len(ids) for ids in others[0].result()] == [4, 4]


def test_the_mode_of_an_lstm_changes_no_result(build):
    case = build("bilstm-crf")
    batch = case.tokenizer(case.texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        always = case.model(**batch).emissions
        for module in case.model.modules():
            module.training = False
        assert torch.equal(case.model(**batch).emissions, always)
