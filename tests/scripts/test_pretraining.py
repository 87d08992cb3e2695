"""scripts/pretraining.py: arguments of its arms, and the table that it writes from records."""

import pytest


def write_records(script, arm: str, f1: dict[int, float]) -> None:
    held_out = {"before": {"perplexity": 900.0}, "after": {"perplexity": 12.5}}
    pretraining = {"held_out": held_out, "train_seconds": 61.0} if script.ARMS[arm] else {}
    for seed, value in f1.items():
        name = f"cmedqaner-{script.slug(arm)}-{seed}.json"
        record = {"arm": arm, "corpus": "cmedqaner", "seed": seed, "strict": {"f1": value}, "pretraining": pretraining}
        script.write_json(script.RECORDS / name, record)


def test_the_section_is_written_from_records_with_differences_by_seed(script):
    write_records(script, "as it is", {0: 0.50, 1: 0.60})
    write_records(script, "MacBERT", {0: 0.55, 1: 0.67})
    write_records(script, "random", {0: 0.30})
    script.write_section(script.parse(["--data", "nowhere", "--steps", "500"]))
    page = script.PAGE.read_text(encoding="utf-8")
    assert "yesterday" not in page and page.endswith("## Speed\n\nfast\n")
    assert "--steps 500" in page and "nowhere" not in page and '--arms "as it is" "MacBERT" "random"' in page
    text = " ".join(page.split())
    assert "`MacBERT`: n-grams" in text and "`plain [MASK]`" not in text and "all training documents" in text
    rows = {line.split(" | ")[0].strip("| "): line for line in page.splitlines() if line.startswith("| ")}
    assert rows["as it is"] == "| as it is | 55.00 ± 7.07 | – | – | – | – |"
    assert rows["MacBERT"] == "| MacBERT | 61.00 ± 8.49 | +6.00 ± 1.41 | – | – | 900.0, 12.5 |"
    assert rows["random"].startswith("| random | 30.00 | – |") and "from scratch" not in rows


def test_a_run_with_a_record_is_skipped(script):
    write_records(script, "MacBERT", {0: 0.5})
    args = script.parse(["--data", "nowhere"])
    script.train_one("MacBERT", "cmedqaner", 0, args)  # would fail: there is no data
    with pytest.raises(OSError):
        script.train_one("MacBERT", "cmedqaner", 1, args)


def test_pretraining_methods_differ_in_masking_only(script):
    args = script.parse(["--data", "data"])
    plain, words, macbert = (
        script.pretraining_arguments(arm, args) for arm in ("plain [MASK]", "whole-word [MASK]", "MacBERT")
    )
    assert (plain.replacement, plain.lexicon, plain.ngram_shares) == ("mask", None, [1.0])
    assert words.replacement == "mask" and macbert.replacement == "similar"
    assert words.lexicon == macbert.lexicon and words.ngram_shares == macbert.ngram_shares
