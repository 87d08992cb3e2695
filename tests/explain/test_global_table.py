"""The global table against direct sums: shrinkage, back-off, leave-one-out, merging, publishing, Markdown."""

import itertools
import json
import pickle
import random

import numpy as np
import pytest
from safetensors.numpy import load_file

from hf_adner import Lexicon
from hf_adner.explain.explanation import ROLES
from hf_adner.explain.global_table import GlobalTable, TopUnit, tops_to_markdown
from hf_adner.explain.table_files import TableNoise
from hf_adner.explain.unit_statistics import ANY, ROUNDED_TO, character_roles

WORDS = ["红斑", "瘙痒", "他克莫司"]
KAPPA = 3.0


def instances(count, seed=0):
    """(text, entity, map, document, group) of random texts in which words come up."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        text = "".join(rng.choice([*"红斑瘙痒手足有伴及", *WORDS]) for _ in range(rng.randint(2, 12)))
        start = rng.randrange(len(text))
        entity = (start, rng.randint(start + 1, len(text)), rng.choice(["Disease", "Symptom"]))
        values = [rng.gauss(0, 1) for _ in text]
        made.append((text, entity, values, f"d{number // 2}", f"p{number // 6}"))
    return made


def table_of(samples, lexicon=True):
    table = GlobalTable(KAPPA, Lexicon(WORDS) if lexicon else None)
    for text, entity, values, document, group in samples:
        table.add(text, entity, values, document=document, group=group)
    return table


def same(first, second, tolerance=1e-9):
    for one, other in zip(first, second, strict=True):
        assert np.allclose(one, other, atol=tolerance, rtol=0)


def words_of(text):
    """(start, end) of the words, which neither overlap nor hold one another."""
    return [(at, at + len(word)) for word in WORDS for at in range(len(text)) if text.startswith(word, at)]


def observed(samples, label, role, unit):
    """Values of a unit: of all characters (None), of a character, or of the characters of a word."""
    found = []
    for text, (start, end, own_label), values, *_ in samples:
        roles = character_roles(len(text), start, end)
        covered = {place: text[first:after] for first, after in words_of(text) for place in range(first, after)}
        for place, value in enumerate(values):
            here = unit is None or unit == (covered.get(place) if len(unit) > 1 else text[place])
            if own_label == label and ROLES[roles[place]] == role and here:
                found.append(value)
    return np.array(found)


def expected_entry(samples, text, entity, place):
    """Mean, variance and count of one character."""
    start, end, label = entity
    role = ROLES[character_roles(len(text), start, end)[place]]
    units = [None, text[place], *(text[first:after] for first, after in words_of(text) if first <= place < after)]
    mean, spread = 0.0, 1.0
    for unit in units:
        values = observed(samples, label, role, unit)
        n, squares = len(values), ((values - values.mean()) ** 2).sum() if len(values) else 0.0
        mean = (values.sum() + KAPPA * mean) / (n + KAPPA)
        spread = (squares + KAPPA * spread) / (n + KAPPA)
    return mean, spread / (n + KAPPA), n


@pytest.fixture(scope="module")
def samples():
    return instances(30)


@pytest.fixture(scope="module")
def table(samples):
    return table_of(samples)


def test_shrinkage_and_back_off(samples, table):
    for text, entity, *_ in [*samples[:8], ("红斑很痒X他克莫司", (2, 5, "Disease")), ("有斑", (0, 1, "Tumour"))]:
        entry = table.lookup(text, entity)
        expected = [expected_entry(samples, text, entity, place) for place in range(len(text))]
        same(entry, np.array(expected).T)


def test_leaving_one_out_is_a_table_without_it(samples, table):
    for number in (0, 7, 19):
        text, entity, values, *_ = samples[number]
        without = table_of(samples[:number] + samples[number + 1 :])
        same(table.lookup(text, entity, leave_out=values), without.lookup(text, entity))
    alone = table_of(samples[:1])
    entry = alone.lookup(*samples[0][:2], leave_out=samples[0][2])
    assert not entry.mean.any() and not entry.count.any() and np.allclose(entry.variance, 1 / KAPPA)


def test_what_was_added_often_and_decayed_can_be_left_out(samples):
    table, without = table_of(samples[1:]), table_of(samples[1:])
    text, entity, values, *_ = samples[0]
    own = np.zeros((3, len(text)))
    for epoch in range(3):
        values = np.array(values) + 0.1 * epoch
        table.add(text, entity, values, document="x")
        own += [np.ones(len(text)), values, values**2]
        for one in (table, without):
            one.decay(0.7)
        own *= 0.7
    same(table.lookup(text, entity, leave_out=own), without.lookup(text, entity))


def test_many_at_once_are_as_one_by_one(samples, table):
    texts, entities, values = zip(*((text, entity, values) for text, entity, values, *_ in samples))
    leave_out = [own if number % 2 else None for number, own in enumerate(values)]
    for found, *one in zip(table.lookup_many(texts, entities, leave_out), texts, entities, leave_out, strict=True):
        same(found, table.lookup(*one))
    assert table.lookup_many([], []) == []
    with pytest.raises(ValueError, match="2 texts, 1 entities and 2 maps"):
        table.lookup_many(["红", "斑"], [(0, 1, "Disease")])


def test_characters_without_a_value_count_nowhere(samples):
    text, entity = "红斑伴瘙痒", (0, 2, "Disease")
    values = [1.0, 2.0, np.nan, 3.0, np.nan]
    table = table_of(samples)
    table.add(text, entity, values, document="x")
    expected = table_of([*samples, ("红斑", entity, [1.0, 2.0], "x", None)])
    assert table.lookup(text, entity).count[:2].tolist() == expected.lookup(text, entity).count[:2].tolist()
    same(table.lookup(text, entity, leave_out=values), table_of(samples).lookup(text, entity))


def test_merging_is_adding_all_at_once_in_any_order(samples, table):
    parts = [samples[:9], samples[9:21], samples[21:]]
    for order in itertools.permutations(parts):
        merged = GlobalTable(KAPPA, Lexicon(WORDS))
        for part in order:
            merged.merge(table_of(part))
        for text, entity, *_ in samples:
            same(merged.lookup(text, entity), table.lookup(text, entity))
        for least in (1, 2, 4):
            assert contents(merged.publish(least)) == contents(table.publish(least))


def contents(table):
    return {
        (label, role, *(one if isinstance(one, str) else round(one, 9) for one in top))
        for label in table.labels
        for role in ROLES
        for top in table.top(label, role, 1000)
    }


def test_decay_scales_the_statistics(samples):
    table, expected = table_of(samples), GlobalTable(KAPPA / 0.7, Lexicon(WORDS))
    for text, entity, values, *_ in samples:
        expected.add(text, entity, values, document="x")
    table.decay(0.7)  # weights 0.7 against kappa are weights 1 against kappa / 0.7
    found, other = table.lookup(*samples[0][:2]), expected.lookup(*samples[0][:2])
    assert np.allclose(found.mean, other.mean) and np.allclose(found.count, 0.7 * other.count)


def test_letter_case_does_not_matter():
    table = GlobalTable()
    table.add("IgE高", (0, 3, "Test"), [1.0, 2.0, 3.0, 0.5], document="d")
    same(table.lookup("ige高", (0, 3, "Test")), table.lookup("IGE高", (0, 3, "Test")))
    assert table.lookup("ige高", (0, 3, "Test")).count.tolist() == [1, 1, 1, 1]


def test_top_units_are_those_with_the_highest_shrunk_means(samples, table):
    found = table.top("Disease", "left-edge", 100)
    assert [one.mean for one in found] == sorted((one.mean for one in found), reverse=True)
    everything = observed(samples, "Disease", "left-edge", None)
    role = everything.sum() / (len(everything) + KAPPA)
    for one in found:
        values = observed(samples, "Disease", "left-edge", one.unit)
        assert one.count == len(values) > 0
        assert one.mean == pytest.approx((values.sum() + KAPPA * role) / (len(values) + KAPPA))
    assert table.top("Disease", "left-edge", 2) == found[:2] and table.top("Tumour", "middle") == []
    with pytest.raises(ValueError, match="role must be one of"):
        table.top("Disease", "inside")


def test_markdown(table):
    text = table.to_markdown(2)
    best = table.top("Disease", "left-edge", 1)[0]
    assert text.startswith("### ") and "### Disease\n\n| left-context | left-edge |" in text
    assert f"{best.unit} {best.mean:+.2f} ({best.count:.0f})" in text


# ---- publishing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_group", [False, True])
def test_published_cells_were_seen_in_enough_documents(samples, table, by_group):
    where = 4 if by_group else 3
    table = table if by_group else table_of([(*one[:4], None) for one in samples])
    public = table.publish(3)
    assert public.min_documents == 3 and contents(public)
    expected = set()
    for label, role, unit, *_ in contents(table):
        documents = {one[where] for one in samples if len(observed([one], label, role, unit))}
        expected |= {(label, role, unit)} if len(documents) >= 3 else set()
    assert {one[:3] for one in contents(public)} == expected
    for label, role, unit in expected:
        assert observed(samples, label, role, unit).size // 3 * 3 == next(
            top.count for top in public.top(label, role, 1000) if top.unit == unit
        )


def test_published_statistics_are_rounded(samples, table):
    table = table_of(samples)
    table.noise = TableNoise(0.123456, (0.111111,) * len(ROLES), 32)
    public = table.publish(5)
    assert public.noise == TableNoise(0.12, (0.11,) * len(ROLES), 30)
    _, numbers = public._state()
    count, first, second = numbers["moments"].T
    mean = first / count
    for values, step in ((count, 5), (mean, ROUNDED_TO), (second / count - mean**2, ROUNDED_TO)):
        assert np.allclose(values / step, np.round(values / step), atol=1e-6) and len(set(np.round(values, 6))) > 1
    values = observed(samples, "Disease", "left-context", None)
    public = {tuple(cell): row for cell, row in zip(numbers["cells"].tolist(), zip(count, mean), strict=True)}
    whole = (ANY, table.labels.index("Disease"), ROLES.index("left-context"))
    assert public[whole] == (len(values) // 5 * 5, pytest.approx(values.mean(), abs=ROUNDED_TO / 2))


def test_decayed_statistics_are_not_rounded_away(samples):
    table = table_of(samples)
    cells = {one[:3] for one in contents(table.publish(3))}
    table.decay(0.1)
    assert {one[:3] for one in contents(table.publish(3))} == cells


def test_a_table_published_before_counts_were_rounded_loads(tmp_path, samples, table):
    exact = table.publish(1)
    exact.min_documents = 5
    exact.save(tmp_path / "table")
    again = GlobalTable.load(tmp_path / "table")
    assert again.min_documents == 5 and contents(again) == contents(exact)


def test_rare_units_fall_back_and_are_not_named(tmp_path, samples):
    lexicon = Lexicon([*WORDS, "张三丰"])
    table = GlobalTable(KAPPA, lexicon)
    for text, entity, values, document, group in samples:
        table.add(text, entity, values, document=document, group=group)
    for _ in range(9):  # often, but in one document, of which there is one patient
        table.add("张三丰患瘙痒", (4, 6, "Disease"), [5.0] * 6, document="record A4711", group="patient 8")
    public = table.publish(2)
    entry, unknown = (public.lookup(text, (4, 6, "Disease")) for text in ("张三丰患瘙痒", "XYZW瘙痒"))
    same(entry, unknown)
    public.save(tmp_path / "public")
    written = b"".join(path.read_bytes() for path in (tmp_path / "public").iterdir())
    for secret in ("张", "三", "丰", "A4711", "patient", "d1", "p1"):
        assert secret.encode() not in written
    assert set(public.lexicon.words) == set(WORDS)
    (file,) = (tmp_path / "public").iterdir()
    names = json.loads(load_file(file)["names"].tobytes())
    assert names["documents"] == [] and names["units"] == sorted(names["units"])


def test_groups_may_be_given_when_publishing(samples):
    table = table_of([(*one[:4], None) for one in samples])
    groups = {one[3]: one[4] for one in samples}
    expected = contents(table_of(samples).publish(3))
    assert contents(table.publish(3, group_key=groups)) == contents(table.publish(3, groups.get)) == expected
    assert expected < contents(table.publish(3))
    with pytest.raises(KeyError):
        table.publish(3, group_key={})


def test_what_is_published_stays_as_it_is(samples, table):
    public = table.publish(3)
    assert public.publish(2) is public
    with pytest.raises(ValueError, match="published with min_documents 3; use the raw one"):
        public.publish(4)
    for change in (lambda: public.merge(table), lambda: table.merge(public)):
        with pytest.raises(ValueError, match="a published table cannot be merged"):
            change()
    with pytest.raises(ValueError, match="a published table cannot be added to"):
        public.add(*samples[0][:3], document="d")
    for least in (0, 257, True, 2.0):
        with pytest.raises(ValueError, match="min_documents must be (an integer of 1 or more|at most 256), found"):
            table.publish(least)


def test_publishing_everything_changes_nothing_but_unknown_words(samples, table):
    public = table.publish(1)
    for text, entity, *_ in samples:
        same(public.lookup(text, entity), table.lookup(text, entity))


# ---- files and errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lexicon", [True, False])
def test_the_file(tmp_path, samples, lexicon):
    table = table_of(samples, lexicon)
    table.save(tmp_path / "table")
    for again in (GlobalTable.load(tmp_path / "table"), pickle.loads(pickle.dumps(table))):
        for text, entity, values, *_ in samples:
            same(again.lookup(text, entity, values), table.lookup(text, entity, values), 0)
        assert contents(again.publish(3)) == contents(table.publish(3))
        assert again.labels == table.labels and len(again) == len(table) and again.kappa == KAPPA
    again.add(*samples[0][:3], document="more")
    again.save(tmp_path / "table")  # in place of the first
    assert (
        GlobalTable.load(tmp_path / "table").lookup(*samples[0][:2]).count[0] > table.lookup(*samples[0][:2]).count[0]
    )


def test_an_empty_table(tmp_path):
    table = GlobalTable()
    entry = table.lookup("红斑", (0, 1, "Disease"))
    assert not entry.mean.any() and entry.variance.tolist() == [0.2, 0.2]
    table.save(tmp_path / "table")
    assert len(GlobalTable.load(tmp_path / "table").publish()) == 0
    assert table.to_markdown() == ""


def test_errors(table):
    with pytest.raises(ValueError, match="kappa must be above 0"):
        GlobalTable(0.0)
    for values in ([1.0], np.zeros((2, 2))):
        with pytest.raises(ValueError, match="for a text of 2 characters"):
            table.add("红斑", (0, 1, "Disease"), values, document="d")
    with pytest.raises(ValueError, match="must be finite, or NaN"):
        table.add("红斑", (0, 1, "Disease"), [1.0, np.inf], document="d")
    with pytest.raises(ValueError, match="outside the text of 2"):
        table.lookup("红斑", (1, 3, "Disease"))
    with pytest.raises(ValueError, match="rate must lie in"):
        table.decay(0.0)
    with pytest.raises(ValueError, match="kappa 5.0 cannot be merged"):
        table.merge(GlobalTable(5.0, Lexicon(WORDS)))
    with pytest.raises(ValueError, match=r"different lexicons cannot be merged \(3 and 0 words\)"):
        table.merge(GlobalTable(KAPPA))
    with pytest.raises(ValueError, match="for 'end' cannot be merged into one for 'label'"):
        table.merge(GlobalTable(KAPPA, Lexicon(WORDS), "end"))
    with pytest.raises(ValueError, match="target 'middle' is unknown"):
        GlobalTable(target="middle")


def test_what_would_break_the_table_or_not_show_is_written_out():
    columns = {role: [] for role in ROLES}
    columns["left-edge"] = [TopUnit("红", 1.234, 5.0), TopUnit("|", 0.5, 2.4), TopUnit("\n", -0.5, 1.0)]
    columns["middle"] = [TopUnit("<b>", 0.1, 1.0)]
    lines = tops_to_markdown({"A|B": columns}).splitlines()
    assert lines[:2] == ["### A&#124;B", ""]
    assert lines[2].count("|") == lines[3].count("|") == lines[4].count("|") == 6
    assert "红 +1.23 (5)" in lines[4] and "&#60;b&#62; +0.10 (1)" in lines[4]
    assert "&#124; +0.50 (2)" in lines[5] and "U+000A -0.50 (1)" in lines[6] and len(lines) == 7
