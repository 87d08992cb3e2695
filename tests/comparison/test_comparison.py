"""Comparisons: plan, records, resuming, corpus and peak memory."""

import json
from dataclasses import replace

import pytest
import torch

from hf_adner.comparison import run as run_module
from hf_adner.comparison.comparison import RECORDS, Comparison, ComparisonArguments, compare, parse_shard, plan
from hf_adner.comparison.corpus import ComparedCorpus, count_matches, perturb_documents
from hf_adner.comparison.record import RunRecord
from hf_adner.comparison.run import PeakMemory, weights_digest
from hf_adner.data.records import Document, Entity
from hf_adner.guided.arguments import ExplanationGuidedTrainingArguments
from hf_adner.guided.trainer import ExplanationGuidedTrainer
from hf_adner.perturb.context import EntitySurfaces

from ..corpora import quick, tiny_model, write_corpus

WALL_CLOCK = {"train_seconds": 0.0, "peak_memory": 0}


def guided(output, **options) -> ExplanationGuidedTrainingArguments:
    """Three guided steps after a plain epoch."""
    plain = quick(output, **{"num_train_epochs": 2, "max_steps": -1, **options})
    fields = {name: getattr(plain, name) for name in (
        "output_dir", "num_train_epochs", "max_steps", "per_device_train_batch_size", "learning_rate", "use_cpu",
        "early_stopping_patience", "head_learning_rate", "disable_tqdm", "save_strategy", "eval_strategy",
        "load_best_model_at_end", "metric_for_best_model",
    )}  # fmt: skip
    return ExplanationGuidedTrainingArguments(**fields)


def comparison_arguments(**options) -> ComparisonArguments:
    fields = {"models": ["bilstm-crf"], "arms": ["plain", "full"], "seeds": [0, 1], "resamples": 20, "corpus": "notes"}
    return ComparisonArguments(**{**fields, **options})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Finished comparison of four runs, with the order in which each read its documents."""
    folder = tmp_path_factory.mktemp("comparison")
    arguments = write_corpus(folder, train=16, test=6)
    orders = []

    class RecordingTrainer(ExplanationGuidedTrainer):
        def _get_train_sampler(self, train_dataset=None):
            sampler = super()._get_train_sampler(train_dataset)
            epochs = []
            for epoch in range(2):
                sampler.set_epoch(epoch)
                epochs.append(list(sampler))
            sampler.set_epoch(0)
            orders.append(epochs)
            return sampler

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "ExplanationGuidedTrainer", RecordingTrainer)
        report = compare(comparison_arguments(), arguments, tiny_model(lexicon=None), guided(folder / "out"))
    return folder, arguments, report, orders


def load_records(folder) -> dict[str, RunRecord]:
    """Load the records of a folder with time and memory set to 0."""
    return {path.name: replace(RunRecord.load(path), **WALL_CLOCK) for path in (folder / RECORDS).iterdir()}


def test_runs_write_records_and_a_report(finished):
    folder, _, report, _ = finished
    found = load_records(folder / "out")
    assert set(found) == {f"notes-bilstm-crf-{arm}-{seed}.json" for arm in ("plain", "full") for seed in (0, 1)}
    assert {path.name for path in (folder / "out").iterdir()} >= {"comparison.json", "comparison.md", "forest.png"}
    assert not (folder / "out" / "work").exists()
    record = found["notes-bilstm-crf-full-0.json"]
    assert len(record.counts["clean"]) == 6 and set(record.perturbed) == {"clause-shuffle", "confusions"}
    assert record.documents == {"train": 12, "validation": 4, "test": 6} and record.steps == 4
    assert record.settings["training"]["stability_share"] == 0.7 and "seed" not in record.settings["training"]
    assert report.between("full", "plain").cells == 1
    text = (folder / "out" / RECORDS / "notes-bilstm-crf-full-0.json").read_text(encoding="utf-8")
    assert "瘙痒" not in text and str(folder) not in text


def test_arms_share_initial_weights_and_document_order(finished):
    folder, _, _, orders = finished
    weights = {name: record.initial_weights for name, record in load_records(folder / "out").items()}
    for seed in (0, 1):
        assert weights[f"notes-bilstm-crf-plain-{seed}.json"] == weights[f"notes-bilstm-crf-full-{seed}.json"]
    assert len(set(weights.values())) == 2
    plain, full, other, _ = orders  # the arms of a seed run one after the other
    assert plain == full and plain != other and plain[0] != plain[1]


def test_a_resumed_comparison_has_the_same_records(finished, tmp_path):
    _, arguments, _, _ = finished
    settings = comparison_arguments(seeds=[0]), arguments, tiny_model(lexicon=None), guided(tmp_path / "out")

    class InterruptedTrainer(ExplanationGuidedTrainer):
        def train(self, *args, **kwargs):
            if self.args.is_guided:
                raise KeyboardInterrupt
            return super().train(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run_module, "ExplanationGuidedTrainer", InterruptedTrainer)
        compare(*settings)
    assert set(load_records(tmp_path / "out")) == {"notes-bilstm-crf-plain-0.json"}
    first = tmp_path / "out" / RECORDS / "notes-bilstm-crf-plain-0.json"
    before = first.read_bytes()
    report = compare(*settings)
    assert first.read_bytes() == before and len(report.runs) == 2
    whole = load_records(finished[0] / "out")
    assert load_records(tmp_path / "out") == {
        name: record for name, record in whole.items() if name.endswith("-0.json")
    }
    written = (tmp_path / "out" / "comparison.json").read_text(encoding="utf-8")
    compare(*settings)
    assert (tmp_path / "out" / "comparison.json").read_text(encoding="utf-8") == written


@pytest.mark.parametrize(
    ("changed", "differ"),
    [
        ({"learning_rate": 1e-3}, "training"),
        ({"dataset": True}, "dataset, train_digest"),
        ({"held_out": True}, "held_out"),
    ],
)
def test_records_of_other_arguments_are_refused(changed, differ, finished, tmp_path):
    folder, arguments, _, _ = finished
    args = comparison_arguments(held_out=["confusions"]) if "held_out" in changed else comparison_arguments()
    arguments = replace(arguments, max_train_documents=10) if "dataset" in changed else arguments
    training = guided(folder / "out", **{name: value for name, value in changed.items() if name == "learning_rate"})
    with pytest.raises(ValueError, match=rf"made with other arguments \(different: {differ}\)"):
        Comparison(args, arguments, tiny_model(lexicon=None), training).run()


def test_shards_divide_the_plan_and_keep_the_arms_of_a_seed_together():
    args = comparison_arguments(models=["stock", "bert-crf"], seeds=[0, 1, 2])
    parts = [plan(replace(args, shard=f"{number}/4")) for number in range(4)]
    whole = plan(args)
    assert sorted(run.file("x") for part in parts for group in part for run in group) == sorted(
        run.file("x") for group in whole for run in group
    )
    assert len(whole) == 6 and {len({(run.model, run.seed) for run in group}) for group in whole} == {1}
    order = [(group[0].model, group[0].seed) for group in whole]
    assert order[:4] == [("stock", 0), ("bert-crf", 0), ("bert-crf", 1), ("stock", 1)]
    halves = [plan(replace(args, shard=f"{number}/2")) for number in range(2)]
    assert [{group[0].model for group in half} for half in halves] == [{"stock", "bert-crf"}] * 2


def test_invalid_arguments_are_refused(tmp_path):
    for shard in ("2/2", "1", "-1/2", "1/0"):
        with pytest.raises(ValueError, match="expected number/count"):
            parse_shard(shard)
    with pytest.raises(ValueError, match="seeds must be a non-empty list without duplicates"):
        comparison_arguments(seeds=[1, 1])
    for wrong in ({"models": ["bert"]}, {"explainers": ["oclusion"]}, {"baseline": "plan"}, {"candidate": "r-drop"}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}(: unknown| '.*' is not among the arms)"):
            comparison_arguments(**wrong)
    with pytest.raises(ValueError, match="held_out: unknown swaps, expected some of context-masking"):
        comparison_arguments(held_out=["confusions", "swaps"])
    with pytest.raises(ValueError, match="cannot use early stopping"):
        Comparison(
            comparison_arguments(),
            write_corpus(tmp_path, 4, 2),
            tiny_model(),
            guided(tmp_path, early_stopping_patience=2, eval_strategy="epoch", metric_for_best_model="f1"),
        )
    arguments = replace(write_corpus(tmp_path, 4, 2), test=None)
    with pytest.raises(ValueError, match="needs a test split"):
        Comparison(comparison_arguments(), arguments, tiny_model(), guided(tmp_path / "out")).run()


def test_the_digest_depends_on_every_weight():
    model = torch.nn.Linear(3, 2)
    before = weights_digest(model)
    assert weights_digest(model) == before
    with torch.no_grad():
        model.bias[1] += 1e-6
    assert weights_digest(model) != before


def test_report_only_needs_no_corpus(finished, tmp_path):
    folder, arguments, _, _ = finished
    out = json.loads((folder / "out" / "comparison.json").read_text(encoding="utf-8"))
    args = comparison_arguments(report_only=True)
    report = compare(args, replace(arguments, dataset="gone.jsonl"), tiny_model(lexicon=None), guided(folder / "out"))
    assert report.to_dict()["runs"] == out["runs"]
    with pytest.raises(ValueError, match="no records"):
        compare(args, arguments, tiny_model(lexicon=None), guided(tmp_path / "empty"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return ComparedCorpus.load("notes", write_corpus(tmp_path_factory.mktemp("corpus"), 12, 6))


def test_matches_are_counted_as_multisets():
    gold = [(0, 2, "A"), (0, 2, "B"), (3, 4, "A")]
    assert count_matches([(0, 2, "A"), (0, 2, "A"), (3, 4, "B")], gold) == [1, 3, 3]
    assert count_matches([], gold) == [0, 0, 3] and count_matches(gold, []) == [0, 3, 0]


def test_gold_entities_are_seen_or_unseen_by_label_and_text(corpus):
    text = "湿疹伴抽搐，湿疹"
    spans = [Entity(0, 2, "Disease"), Entity(3, 5, "Symptom"), Entity(6, 8, "Symptom")]
    known = Document("t", "湿疹", (Entity(0, 2, "Disease"),))
    changed = replace(corpus, train=[known], test=[Document("x", text, tuple(spans))])
    predicted = [[(0, 2, "Disease"), (6, 8, "Symptom"), (1, 2, "Disease")]]
    assert changed.strict_counts(predicted) == [[2, 3, 3]]
    assert changed.recall_counts(predicted, seen=True) == [[1, 1, 1]]
    assert changed.recall_counts(predicted, seen=False) == [[1, 2, 2]]
    assert changed.boundary_counts(predicted) == [[4, 6, 6]]  # no gold entity starts at 1, and one ends at 2
    assert changed.boundary_counts([[]]) == [[0, 0, 6]]


def test_perturbed_documents_are_deterministic_and_keep_their_entities(corpus):
    again = perturb_documents(corpus.test, "confusions", EntitySurfaces({}))
    assert again == corpus.perturbed["confusions"] and again
    for number, document in again.items():
        assert document.text != corpus.test[number].text and len(document.entities) == 2


def test_perturbations_that_need_more_or_insert_masks_are_refused(corpus):
    with pytest.raises(ValueError, match="similar-words cannot be made from the documents alone"):
        perturb_documents(corpus.test, "similar-words", EntitySurfaces({}))
    with pytest.raises(ValueError, match="context-masking inserts masks"):
        perturb_documents(corpus.test, "context-masking", EntitySurfaces({}))
    swapped = perturb_documents(corpus.test, "entity-swap", EntitySurfaces.from_documents(corpus.train))
    assert swapped


def test_the_digests_depend_on_texts_and_entities(corpus, tmp_path):
    same = ComparedCorpus.load("other name", write_corpus(tmp_path / "same", 12, 6), [])
    assert same.digests == corpus.digests
    other = ComparedCorpus.load("notes", write_corpus(tmp_path / "other", 12, 7), [])
    assert other.digests["digest"] != corpus.digests["digest"]
    assert other.digests["train_digest"] == corpus.digests["train_digest"]


def test_a_sample_leaves_the_scored_documents(corpus):
    sampled = corpus.sampled(4, seed=1)
    assert len(sampled.train) == 4 == len(sampled.splits["train"]) and sampled.test == corpus.test
    assert {one.id for one in sampled.train} < {one.id for one in corpus.train}
    assert sampled.digests["digest"] == corpus.digests["digest"]
    assert corpus.sampled(4, seed=1).train == sampled.train != corpus.sampled(4, seed=3).train


def test_each_seed_draws_its_own_training_documents(finished, tmp_path):
    _, arguments, _, _ = finished
    arguments = replace(arguments, max_train_documents=6)
    args = comparison_arguments(arms=["plain"], candidate="plain", held_out=[], sample_per_seed=True)
    training = guided(tmp_path / "out", num_train_epochs=1)
    report = compare(args, arguments, tiny_model(lexicon=None), training)
    first, second = report.runs
    assert first.settings["digest"] == second.settings["digest"]
    assert first.settings["train_digest"] != second.settings["train_digest"]
    assert first.documents["train"] == 6 and set(first.counts) == {"clean", "boundary", "seen", "unseen"}
    again = compare(args, arguments, tiny_model(lexicon=None), training)  # the records fit
    assert [record.counts for record in again.runs] == [first.counts, second.counts]
    with pytest.raises(ValueError, match="sample_per_seed .* needs the size of a sample"):
        Comparison(args, replace(arguments, max_train_documents=None), tiny_model(lexicon=None), training)


MEGABYTE = 1 << 20


def test_peak_memory_includes_released_memory():
    with PeakMemory(interval=0.001) as memory:
        block = torch.ones(64 * MEGABYTE // 4)
        for _ in range(10_000):  # until the sampling thread has run
            block += 1
            if memory.growth >= 32 * MEGABYTE:
                break
        del block
    assert memory.growth >= 32 * MEGABYTE
    after = memory.peak
    with PeakMemory() as small:
        torch.ones(MEGABYTE // 4)
    assert small.peak < after
