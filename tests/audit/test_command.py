"""`adner audit`: tables on standard output, report and picture in files."""

import json

from hf_adner.cli import main
from hf_adner.data.formats import write_documents


def test_audit_writes_tables_a_report_and_a_picture(case, tmp_path, capsys):
    case.model.save_pretrained(tmp_path / "model")
    case.tokenizer.save_pretrained(tmp_path / "model")
    write_documents(case.documents, tmp_path / "gold.jsonl")
    names = ("json", "calibration", "robustness")
    files = {"--plot": tmp_path / "plot.png", **{f"--{name}": tmp_path / f"{name}.json" for name in names}}
    options = ["--explainers", "grad-x-input", "random", "--groups", "stability", "faithfulness", "--views", "1"]
    options += ["--max-entities", "8", "--device", "cpu", *(str(part) for pair in files.items() for part in pair)]
    assert main(["audit", str(tmp_path / "model"), str(tmp_path / "gold.jsonl"), *options]) == 0
    printed = capsys.readouterr().out
    assert "| stability | entities | DS up |" in printed and "| clause-shuffle |" in printed
    report, calibration, robustness = (
        json.loads(files[f"--{name}"].read_text(encoding="utf-8")) for name in ("json", "calibration", "robustness")
    )
    assert calibration["accuracy"] == 1 and robustness["f1"] == 1
    assert set(report["explainers"]) == {"grad-x-input", "random"} and report["population"]["entities"] == 8
    assert files["--plot"].stat().st_size > 1000
    assert main(["audit", str(tmp_path / "model"), str(tmp_path / "gold.jsonl"), "--groups", "taste"]) == 1
    assert "ValueError: groups are" in capsys.readouterr().err
