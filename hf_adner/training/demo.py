"""The quickstart: a small model trained from nothing on the synthetic corpus, shown on a note."""

from pathlib import Path
from typing import Any

from hf_adner.audit.prediction import predict_documents
from hf_adner.data.records import Document
from hf_adner.data.writers import write_documents
from hf_adner.model.modeling_adner import AdnerForTokenClassification
from hf_adner.model.pipeline_adner import AdnerPipeline
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.training.arguments import AdnerTrainingArguments, DatasetArguments, ModelArguments
from hf_adner.training.run import MODEL_FOLDER, run_training

REPORT_FILE = "report.html"

SAMPLE_NOTE = (
    "患儿，男，6岁，因“四肢屈侧反复红斑、丘疹伴瘙痒3年，加重1周”就诊。患儿3年前无明显诱因肘窝、腘窝出现红斑、丘疹，"
    "搔抓后渗出、结痂，夜间瘙痒明显，影响睡眠。曾外用糠酸莫米松乳膏、他克莫司软膏，口服氯雷他定，症状好转，停药后反复。"
    "进食海鲜、接触尘螨后加重。既往有过敏性鼻炎病史，否认哮喘。父亲患荨麻疹。"
    "查体：面部、颈部及四肢屈侧可见对称分布的暗红斑、抓痕，局部苔藓样变，皮肤干燥，可见鳞屑。"
    "SCORAD评分42分，EASI 18分。"
    "辅助检查：血常规示嗜酸性粒细胞升高，总IgE 860 IU/mL。诊断：特应性皮炎。"
    "予保湿润肤，湿敷，外用0.03%他克莫司软膏，口服西替利嗪，必要时窄谱UVB照射，避免辛辣食物及搔抓，两周后复诊。"
)
"""A note written for this demonstration; no real patient."""


def demo_arguments(output: str, seed: int = 42) -> tuple[DatasetArguments, ModelArguments, AdnerTrainingArguments]:
    """Arguments of the quickstart's run: m-dscmg with a two-layer encoder and the built-in lexicon.

    A run that was interrupted goes on from its last epoch.
    """
    return (
        DatasetArguments(dataset="ad-synthetic"),
        ModelArguments(architecture="m-dscmg", lexicon="ad", encoder_size=128, encoder_layers=2),
        AdnerTrainingArguments(
            output_dir=output,
            learning_rate=1e-3,
            head_learning_rate=1e-3,
            num_train_epochs=3,
            per_device_train_batch_size=32,
            seed=seed,
            resume_from_checkpoint="auto",
        ),
    )


def run_demo(output: str, seed: int = 42) -> dict[str, Any]:
    """Train on `ad-synthetic`, score its test split, tag `SAMPLE_NOTE` and write `report.html`.

    Returns:
        The metrics, as in `output/metrics.json`.
    """
    metrics = run_training(*demo_arguments(output, seed))
    write_report(output)
    return metrics


def write_report(output: str) -> Document:
    """Tag `SAMPLE_NOTE` with the saved checkpoint of a run and show it in `output/report.html`."""
    folder = Path(output) / MODEL_FOLDER
    model = AdnerForTokenClassification.from_pretrained(folder)
    pipe = AdnerPipeline(model=model, tokenizer=AdnerTokenizer.from_pretrained(folder))
    note = next(predict_documents(pipe, [Document(id="sample-note", text=SAMPLE_NOTE)]))
    write_documents([note], Path(output) / REPORT_FILE, format="html")
    return note


def entity_lines(document: Document) -> list[str]:
    """One line per entity: label, surface and posterior."""
    return [
        f"{one.label:<10} {one.start:>4}-{one.end:<4} {one.meta['score']:.3f}  {one.text}" for one in document.entities
    ]
