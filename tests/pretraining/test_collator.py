"""Statistics of MacBERT's masking, positions of masks and labels, and the choice of n-grams."""

import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import AutoModelForMaskedLM, BertConfig, BertTokenizerFast, Trainer, TrainingArguments

from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.pretraining.collator import NGRAM_SHARES, MacBertCollator, choose_ngrams, ngram_lengths
from hf_adner.pretraining.text import TextBlocks

WORDS = ["红斑", "丘疹", "水疱", "瘙痒", "湿疹", "荨麻疹", "银屑病", "特应性皮炎", "药物性皮炎"]
SIMILAR = {"红斑": [("皮损", 0.9), ("斑块", 0.3)], "荨麻疹": [("玫瑰疹", 0.8)], "特应性皮炎": [("过敏性皮炎", 0.7)]}
"""Similar words that are not in the list, so that no random word is one of them."""
CHARACTERS = "患者面部伴有三年余甲乙丙丁戊己庚辛"


def long_text(words: int, seed: int = 0) -> str:
    """Words and single characters in turn, so that matches are the words."""
    rng = np.random.default_rng(seed)
    parts = [rng.choice(WORDS) if number % 2 else rng.choice(list(CHARACTERS)) for number in range(words)]
    return "".join(map(str, parts))


@pytest.fixture(scope="module")
def tokenizer() -> AdnerTokenizer:
    return AdnerTokenizer.from_texts(["".join(WORDS) + CHARACTERS + "皮损斑块玫瑰疹过敏性"])


@pytest.fixture(scope="module")
def blocks(tokenizer) -> TextBlocks:
    return TextBlocks([long_text(400, seed) for seed in range(250)], tokenizer, 512)


def collator(tokenizer, **options) -> MacBertCollator:
    made = MacBertCollator(tokenizer, Lexicon(WORDS), SIMILAR, **options)
    made.set_epoch(0)
    return made


def words_of(made: MacBertCollator, ids: list[int]) -> list[tuple[int, int]]:
    return [span for run in made.words.runs(ids) for span in run]


def test_the_shares_of_100_000_words_are_those_of_the_recipe(tokenizer, blocks):
    made, outcomes, chosen, total = collator(tokenizer), Counter(), 0, 0
    for block in blocks:
        ids = block["input_ids"]
        masked, labels = made.mask(ids)
        for start, end in words_of(made, ids.tolist()):
            total += 1
            is_chosen = labels[start:end] != -100
            assert is_chosen.all() or not is_chosen.any()  # whole words
            if not is_chosen.any():
                assert (masked[start:end] == ids[start:end]).all()
                continue
            chosen += 1
            before, after = made.words.text(ids[start:end]), made.words.text(masked[start:end])
            similar = dict(SIMILAR.get(before, ()))
            outcomes["same" if before == after else "similar" if after in similar else "random"] += bool(similar)
    assert total >= 100_000
    assert chosen / total == pytest.approx(0.15, abs=0.002)
    shares = {name: number / outcomes.total() for name, number in outcomes.items()}
    assert shares == pytest.approx({"similar": 0.8, "random": 0.1, "same": 0.1}, abs=0.012)


def test_words_without_a_similar_one_become_random_words_of_the_list(tokenizer, blocks):
    made, outcomes = collator(tokenizer), Counter()
    for block in list(blocks)[:60]:
        ids = block["input_ids"]
        masked, _ = made.mask(ids)
        for start, end in words_of(made, ids.tolist()):
            before, after = made.words.text(ids[start:end]), made.words.text(masked[start:end])
            if end - start == 2 and before not in SIMILAR and before != after:
                outcomes[after in WORDS] += 1
    assert outcomes[True] > 400 and outcomes[False] < 5  # now and then the same word is drawn each time


def test_no_character_becomes_the_piece_of_a_word_and_white_space_stays(tokenizer):
    vocabulary = [*tokenizer.get_vocab(), *(f"##{character}" for character in CHARACTERS)]
    pieces = AdnerTokenizer({token: place for place, token in enumerate(vocabulary)})
    made = MacBertCollator(pieces, share=1.0)
    spaced = "患 者\u3000面  部伴有"
    ids = np.array(pieces(spaced)["input_ids"])
    blank = [place for place, token in enumerate(ids.tolist()) if not made.words.text([token]).strip()]
    assert len(blank) >= 4
    for _ in range(50):
        masked, labels = made.mask(ids)
        assert not any(pieces.convert_ids_to_tokens(token).startswith("##") for token in masked.tolist())
        assert (labels[blank] == -100).all() and (labels != -100).sum() >= 3


def test_the_stock_trainer_learns_with_it_and_masks_anew_in_every_epoch(tokenizer, tmp_path):
    seen = []

    class Watched(MacBertCollator):
        def __call__(self, features):
            batch = super().__call__(features)
            seen.append(batch["labels"])
            return batch

    rows = [dict(tokenizer(long_text(30, seed))) for seed in range(8)]
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(vocab_size=len(tokenizer), **sizes)
    options = {"per_device_train_batch_size": 8, "num_train_epochs": 30, "learning_rate": 1e-2, "logging_steps": 1,
               "report_to": "none", "save_strategy": "no", "use_cpu": True, "disable_tqdm": True,
               "train_sampling_strategy": "sequential"}  # fmt: skip
    torch.manual_seed(0)
    trainer = Trainer(
        model=AutoModelForMaskedLM.from_config(config),
        args=TrainingArguments(str(tmp_path), **options),
        train_dataset=rows,
        data_collator=Watched(tokenizer, Lexicon(WORDS), SIMILAR),
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert len(seen) == 30 and not torch.equal(seen[0], seen[1])


def test_lengths_of_ngrams_are_those_of_the_recipe(tokenizer, blocks):
    made, rng, spans = collator(tokenizer), np.random.default_rng(0), Counter()
    words = words_of(made, blocks[0]["input_ids"].tolist())
    for _ in range(500):
        spans.update(length for _, length in choose_ngrams(np.ones(len(words), bool), 0.15, made.ngram_shares, rng))
    found = [spans[length] / spans.total() for length in (1, 2, 3, 4)]
    assert found == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.015)


def test_masks_lie_in_text_only_and_labels_are_the_true_tokens(tokenizer):
    texts = ["红斑", "患者面部湿疹" * 9, long_text(60)]
    tokenizer_with_unknown = AdnerTokenizer(tokenizer.get_vocab())
    rows = [dict(tokenizer_with_unknown(text + "腘")) for text in texts]
    made = MacBertCollator(tokenizer, Lexicon(WORDS), SIMILAR, share=0.9)
    for _ in range(20):
        batch = made(rows)
        assert set(batch) == {"input_ids", "token_type_ids", "attention_mask", "labels"}
        for row, ids, mask, labels in zip(rows, batch["input_ids"], batch["attention_mask"], batch["labels"]):
            length = len(row["input_ids"])
            true = torch.tensor(row["input_ids"])
            chosen = labels != -100
            assert not chosen[0] and not chosen[length - 2 :].any()  # [CLS]; [UNK], [SEP] and padding
            assert mask.tolist() == [1] * length + [0] * (len(ids) - length)
            assert (labels[:length][chosen[:length]] == true[chosen[:length]]).all()
            assert (ids[:length][~chosen[:length]] == true[~chosen[:length]]).all()
            assert (ids[length:] == tokenizer.pad_token_id).all()
            assert not {tokenizer.unk_token_id, tokenizer.mask_token_id} & set(ids[: length - 2].tolist())


def test_the_control_writes_masks_for_the_same_words(tokenizer, blocks):
    row = blocks[0]["input_ids"]
    (similar, first), (masked, second) = (
        collator(tokenizer, replacement=kind).mask(row) for kind in ("similar", "mask")
    )
    chosen = first != -100
    assert tokenizer.mask_token_id not in similar
    share = (masked[second != -100] == tokenizer.mask_token_id).mean()
    assert 0.5 < share < 1.0 and chosen.mean() == pytest.approx((second != -100).mean(), abs=1e-9)


def test_masks_depend_on_seed_epoch_and_row_and_not_on_workers_or_batches(tokenizer, blocks):
    made = collator(tokenizer)

    def epoch(number: int, size: int, workers: int, seed: int = 0) -> list[tuple]:
        made.set_epoch(number)
        made.seed = seed
        loader = DataLoader(blocks, batch_size=size, num_workers=workers, collate_fn=made)
        rows = []
        for _, batch in zip(range(6 // size), loader):
            kept = batch["attention_mask"].bool()
            rows += [
                (ids[on].tolist(), labels[on].tolist())
                for ids, labels, on in zip(batch["input_ids"], batch["labels"], kept)
            ]
        return rows

    first = epoch(0, 3, 0)
    assert epoch(0, 2, 2) == first
    assert epoch(1, 3, 0) != first and epoch(0, 3, 0, seed=1) != first


def test_workers_that_outlive_an_epoch_see_the_next(tokenizer, blocks):
    made = collator(tokenizer)
    few = [blocks[number] for number in range(4)]
    loader = DataLoader(few, batch_size=2, num_workers=1, persistent_workers=True, collate_fn=made)
    epochs = []
    for number in (0, 1, 0):
        made.set_epoch(number)
        epochs.append(torch.cat([batch["labels"].flatten() for batch in loader]))
    assert torch.equal(epochs[0], epochs[2]) and not torch.equal(epochs[0], epochs[1])


def test_without_epochs_the_chance_is_that_of_torch(tokenizer, blocks):
    made = MacBertCollator(tokenizer, Lexicon(WORDS))
    torch.manual_seed(5)
    first, second = (made([blocks[0]])["labels"] for _ in range(2))
    torch.manual_seed(5)
    assert torch.equal(made([blocks[0]])["labels"], first) and not torch.equal(first, second)


def test_a_batch_of_single_words_has_a_label_and_gives_a_finite_loss(tokenizer):
    made = MacBertCollator(tokenizer, Lexicon(WORDS))
    model = AutoModelForMaskedLM.from_config(
        BertConfig(
            vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        )
    )
    for _ in range(20):
        batch = made([dict(tokenizer("红斑")), dict(tokenizer("患"))])
        assert (batch["labels"] != -100).any()
        assert model(**batch).loss.isfinite()


def test_word_pieces_and_pickles(tokenizer):
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "红", "斑", "丘", "疹", "ecz", "##ema", "lichen"]
    stock = BertTokenizerFast(vocab={token: index for index, token in enumerate(pieces)})
    made = MacBertCollator(
        stock, Lexicon(["红斑", "丘疹"]), {"红斑": [("丘疹", 1.0)], "eczema": [("lichen", 1.0)]}, share=1.0
    )
    made = pickle.loads(pickle.dumps(made))
    texts = Counter(stock.decode(made([dict(stock("红斑eczema"))])["input_ids"][0]) for _ in range(60))
    assert any("丘 疹" in text for text in texts)
    assert not any("lichen" in text and "##" in text for text in texts)  # one token cannot stand for two


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replacement": "noise"}, "'similar', 'mask'"),
        ({"share": 0.0}, "more than 0"),
        ({"ngram_shares": (0.5, 0.4)}, "with sum 1"),
    ],
)
def test_wrong_settings_are_refused(tokenizer, options, message):
    with pytest.raises(ValueError, match=message):
        MacBertCollator(tokenizer, **options)


@pytest.mark.parametrize("words", [0.7, 3.4, 40.0])
def test_neither_number_nor_distribution_is_biased_by_the_end(words):
    rng = np.random.default_rng(0)
    drawn = [ngram_lengths(words, NGRAM_SHARES, rng) for _ in range(8_000)]
    assert sum(map(sum, drawn)) / len(drawn) == pytest.approx(words, rel=0.05)
    flat = [length for lengths in drawn for length in lengths]
    found = [flat.count(length) / len(flat) for length in (1, 2, 3, 4)]
    assert found == pytest.approx(NGRAM_SHARES, abs=0.025)


def test_ngrams_do_not_overlap_nor_span_what_is_not_free():
    rng = np.random.default_rng(1)
    for _ in range(200):
        free = rng.random(60) < 0.8
        taken = np.zeros(60, dtype=int)
        for start, length in choose_ngrams(free, 0.5, NGRAM_SHARES, rng):
            taken[start : start + length] += 1
        assert taken.max() <= 1 and not (taken.astype(bool) & ~free).any()


def test_all_words_can_be_chosen_and_long_ngrams_are_taken_apart():
    free = np.array([True, False] * 10)
    chosen = choose_ngrams(free, 1.0, (0, 0, 0, 1.0), np.random.default_rng(2))
    assert sorted(chosen) == [(place, 1) for place in range(0, 20, 2)]


def test_at_least_as_many_as_asked_where_there_are_words():
    rng = np.random.default_rng(3)
    assert all(len(choose_ngrams(np.ones(2, bool), 0.01, NGRAM_SHARES, rng, at_least=1)) >= 1 for _ in range(50))
    assert choose_ngrams(np.zeros(3, bool), 0.5, NGRAM_SHARES, rng, at_least=1) == []
