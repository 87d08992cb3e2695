import pickle

from hf_adner.data.errors import DataFormatError, excerpt


def test_message_has_what_is_known_of_the_place():
    assert str(DataFormatError("why")) == "why"
    error = DataFormatError("why", path="a.json", line=3, record="r1")
    assert str(error) == "a.json, line 3, record 'r1': why"


def test_located_fills_in_only_what_was_unknown():
    error = DataFormatError("why", line=3).located("a.json", 9, "r1")
    assert (error.path, error.line, error.record, error.reason) == ("a.json", 3, "r1", "why")


def test_survives_pickling():
    error = pickle.loads(pickle.dumps(DataFormatError("why", path="a.json", line=3)))
    assert (str(error), error.line) == ("a.json, line 3: why", 3)


def test_excerpt_is_cut():
    assert excerpt("患者张三身份证号码") == "'患者张三身份证…'"
    assert excerpt("红斑") == "'红斑'"
    assert excerpt(12) == "'12'"
