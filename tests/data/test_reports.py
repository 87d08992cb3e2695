from hf_adner.data.errors import DataFormatError
from hf_adner.data.formats.reader import ReadReport
from hf_adner.data.records import Document, Entity


def test_counts_what_a_flat_tagger_leaves_out():
    report = ReadReport()
    report.count(Document("a", "面部皮炎", (Entity(0, 4, "Disease"), Entity(0, 2, "BodySite"))))
    report.count(Document("b", "瘙痒", (Entity(0, 2, "Symptom"),)))
    assert (report.documents, report.entities, report.not_flat) == (2, 3, 1)
    assert report.warnings() == [
        "1 of 3 entities overlap a longer one: kept in the records, left out where a flat tagger is trained"
    ]


def test_nothing_to_know_is_no_warning():
    report = ReadReport()
    report.repaired["x"] += 0
    report.notes["y"] += 0
    assert report.warnings() == []


def test_skipped_records_are_spelt_out_up_to_a_limit():
    report = ReadReport()
    for line in range(1, 6):
        report.skip(DataFormatError("why", path="a.jsonl", line=line))
    assert report.warnings(most=2) == [
        "5 invalid records were skipped:",
        "  a.jsonl, line 1: why",
        "  a.jsonl, line 2: why",
        "  … and 3 more",
    ]
