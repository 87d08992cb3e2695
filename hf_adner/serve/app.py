"""An app in the browser (Gradio): a note with its entities and their explanations, and whole files.

It listens to this computer alone unless told otherwise, loads nothing from elsewhere and sends nothing. Notes are kept
in memory while they are read; uploaded files and results are removed after an hour, and no text goes into logs.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

import gradio

from hf_adner.audit.prediction import predict_documents
from hf_adner.data.assertion import ASSERTION
from hf_adner.data.code import CODE
from hf_adner.data.formats import DocumentStream, read_documents, takes_labels, write_documents
from hf_adner.data.records import Document
from hf_adner.explain.documents import ExplainedCheckpoint, explain_documents
from hf_adner.model.assertion_adner import choose_rules
from hf_adner.model.codes_adner import choose_codes
from hf_adner.model.constraints_adner import as_constraints, choose_constraints
from hf_adner.model.pipeline_adner import AdnerPipeline
from hf_adner.reporting import visible
from hf_adner.view.page import page_text

logger = logging.getLogger(__name__)

TITLE = "Medical entities in Chinese text"
NOTE_TITLE = "Entities of the note"
FORMATS = {"JSON lines": ".jsonl", "table (CSV)": ".csv", "page (HTML)": ".html", "CoNLL": ".conll"}
"""Formats of results, and their suffixes."""
UPLOADS = (".jsonl", ".json", ".txt", ".text", ".csv", ".tsv", ".conll", ".bio", ".bioes", ".bmes", ".xlsx")
HEADS = ("entity", "label", "from", "to", "score", "assertion", "check")
CODE_HEAD = "code"
"""Head of a further column if there is a table of codes."""
NOTE_HEIGHT, CACHE_SECONDS, WAITING = 640, 3600, 20
FOLDER_VARIABLE = "GRADIO_TEMP_DIR"
"""Environment variable with the folder of uploads and results."""
EXAMPLE = (
    "患者四肢屈侧反复红斑、丘疹伴瘙痒3年，加重1周。既往有过敏性鼻炎病史，否认哮喘。父亲曾患荨麻疹。"
    "外用他克莫司软膏后好转，必要时口服氯雷他定。"
)
TRADITIONAL_EXAMPLE = "病人頸部及肘窩皮膚乾燥、脫屑，夜間搔癢明顯，無滲出。疑似異位性皮膚炎，建議保濕並避免刺激。"
ABOUT = (
    "Paste a note in Simplified or Traditional characters. Choose an entity on the page below to see which characters "
    "its label depends on. **No medical device:** what it finds has to be read by someone who can judge it."
)
PROGRESS = gradio.Progress()
_OPTIONS = re.compile(r";[^;]*\(--[^;]*")
"""Part of an error that names options of the command, which readers of the app do not have."""
_CSS = """.gradio-container { max-width: 84rem !important; } .result iframe { border: 1px solid #dde1e7; }
#entities table { font-family: inherit; }
"""


class NoteReader:
    """Tags and explains notes and files with one checkpoint, within limits.

    Args:
        checkpoint: model, tokenizer and table.
        max_characters: of a note, and of a text of a file.
        max_documents: of a file.
        constraints, codes: words that are entities or are none, and codes of entities, as for `AdnerPipeline`.

    Raises:
        FileNotFoundError, ValueError: a limit below 1, or a table that is missing or wrong.
    """

    def __init__(
        self,
        checkpoint: ExplainedCheckpoint,
        max_characters: int = 5_000,
        max_documents: int = 500,
        constraints: Any = None,
        codes: Any = None,
    ):
        if min(max_characters, max_documents) < 1:
            raise ValueError(f"limits must be at least 1, found {max_characters} characters, {max_documents} documents")
        self.max_characters, self.max_documents = max_characters, max_documents
        self.checkpoint = checkpoint
        self.pipe = AdnerPipeline(model=checkpoint.model, tokenizer=checkpoint.tokenizer)
        self._rules = choose_rules(True, checkpoint.tokenizer)
        constraints = as_constraints(constraints)  # read once, and refused at the start
        choose_constraints(constraints, checkpoint.model.config, checkpoint.tokenizer)
        self._words = {"constraints": constraints, "codes": choose_codes(codes, checkpoint.tokenizer)}
        self.heads = HEADS if self._words["codes"] is None else (*HEADS, CODE_HEAD)

    def read_note(self, text: str, explain: bool) -> tuple[str, list[list[Any]]]:
        """Return the page of a note, for a frame, and a table of its entities (columns `heads`).

        Raises:
            gradio.Error: an empty note, or one that is too long.
        """
        if not text or not text.strip():
            raise refusal("The note is empty.")
        self._check_length(text, "The note")
        document = Document("note", text)
        (tagged,) = predict_documents(self.pipe, [document], assertion=True, **self._words)
        rows = [_row(entity)[: len(self.heads)] for entity in tagged.entities]
        return _frame(self._page(document, tagged, explain)), rows

    def _page(self, document: Document, tagged: Document, explain: bool) -> str:
        if not explain:
            with tempfile.TemporaryDirectory(prefix="adner-") as folder:
                return self._written(tagged, Path(folder) / "note.html").read_text(encoding="utf-8")
        notes = explain_documents(self.checkpoint.explainer(), [document], assertion=self._rules, **self._words)
        options = {"title": NOTE_TITLE, "review_threshold": self.checkpoint.review_threshold}
        return "".join(page_text(notes, table=self.checkpoint.shown_table, **options))

    def _written(self, document: Document | Sequence[Document], path: Path) -> Path:
        documents = [document] if isinstance(document, Document) else document
        labels = {"labels": self.pipe.model.config.entity_types} if takes_labels(path) else {}
        write_documents(documents, path, **labels)
        return path

    def read_file(self, upload: str | None, kind: str, progress: Any = None) -> tuple[str, str]:
        """Tag the documents of an uploaded file; returns the file of results and a line about it.

        Raises:
            gradio.Error: no file, one that cannot be read, or one with too many or too long texts.
        """
        if not upload:
            raise refusal("Choose a file first.")
        documents = self._documents(Path(upload))
        tagged = predict_documents(self.pipe, documents, assertion=True, **self._words)
        found = []
        for document in tagged:
            found.append(document)
            if progress is not None:
                progress((len(found), len(documents)), unit="documents")
        folder = Path(tempfile.mkdtemp(prefix="adner-", dir=os.environ.get(FOLDER_VARIABLE)))
        path = self._written(found, folder / f"{Path(upload).stem[:40]}-entities{FORMATS[kind]}")
        entities = sum(len(document.entities) for document in found)
        return str(path), f"{len(found)} documents, {entities} entities"

    def _documents(self, path: Path) -> list[Document]:
        found: list[Document] = []
        try:
            stream: DocumentStream = read_documents(path, require_entities=False, overlaps="any")
            for document in stream:
                if len(found) == self.max_documents:
                    raise refusal(
                        f"The file has more than {self.max_documents} documents; `adner predict` takes any number."
                    )
                self._check_length(document.text, f"Document {len(found) + 1}")
                found.append(document)
        except (ValueError, OSError) as error:
            reason = _OPTIONS.sub("", str(error).replace(f"{path}", "the file"))
            raise refusal(f"The file cannot be read: {reason[:300]}") from None
        return found

    def _check_length(self, text: str, what: str) -> None:
        if len(text) > self.max_characters:
            raise refusal(f"{what} has {len(text):,} characters; the limit is {self.max_characters:,}.")


def refusal(message: str) -> gradio.Error:
    """Return an error that is shown to the reader and goes into no log."""
    return gradio.Error(message, print_exception=False)


def _row(entity: Any) -> list[Any]:
    meta = entity.meta
    said = ", ".join(meta.get(ASSERTION) or []) or "affirmed"
    check = "yes" if meta.get("needs_review") else ""
    score = meta["score"] if meta["score"] in (0, 1) else min(max(round(meta["score"], 4), 0.0001), 0.9999)
    code = visible(meta.get(CODE, ""))
    return [visible(entity.text), visible(entity.label), entity.start, entity.end, score, said, check, code]


def _frame(page: str) -> str:
    """Return a page in a frame of its own, which isolates its style and script from the app."""
    return (
        f'<iframe srcdoc="{escape(page)}" sandbox="allow-scripts" title="Entities" '
        f'style="width: 100%; height: {NOTE_HEIGHT}px"></iframe>'
    )


def build_app(reader: NoteReader) -> gradio.Blocks:
    """Return the app of a reader, with a queue of `WAITING` requests, one read at a time."""
    with gradio.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(CACHE_SECONDS, CACHE_SECONDS)) as app:
        gradio.Markdown(f"# {TITLE}\n\n{ABOUT}")
        with gradio.Tab("Note"):
            _note_tab(reader)
        with gradio.Tab("File"):
            _file_tab(reader)
    app.queue(max_size=WAITING, default_concurrency_limit=1, api_open=False)
    return app


def _note_tab(reader: NoteReader) -> None:
    limit = f"up to {reader.max_characters:,} characters"
    note = gradio.Textbox(label="Note", lines=6, max_lines=14, info=limit, placeholder=EXAMPLE, elem_id="note")
    with gradio.Row():
        explain = gradio.Checkbox(label="explain each entity (takes longer)", value=True, elem_id="explain")
        button = gradio.Button("Find entities", variant="primary", elem_id="find")
    gradio.Examples(
        [[EXAMPLE], [TRADITIONAL_EXAMPLE]], inputs=[note], label="Examples (invented)", cache_examples=False
    )
    page = gradio.HTML(elem_classes="result", elem_id="page")
    table = gradio.Dataframe(
        headers=list(reader.heads), label="Entities", interactive=False, wrap=True, elem_id="entities"
    )
    cleared = button.click(lambda: ("", None), None, [page, table], api_name=False, queue=False)
    cleared.then(reader.read_note, [note, explain], [page, table], api_name=False)


def _file_tab(reader: NoteReader) -> None:
    limits = f"at most {reader.max_documents:,} documents of {reader.max_characters:,} characters"
    gradio.Markdown(f"A file of notes ({', '.join(UPLOADS)}), {limits}.")
    upload = gradio.File(label="File of notes", file_types=list(UPLOADS), elem_id="upload")
    kind = gradio.Radio(list(FORMATS), value=next(iter(FORMATS)), label="Format of the result")
    button = gradio.Button("Find entities", variant="primary", elem_id="tag")
    told = gradio.Markdown()
    result = gradio.File(label="Result", interactive=False, elem_id="result")

    def read(path: str | None, format: str, progress: Any = PROGRESS) -> tuple[str, str]:
        return reader.read_file(path, format, progress)

    cleared = button.click(lambda: (None, ""), None, [result, told], api_name=False, queue=False)
    cleared.then(read, [upload, kind], [result, told], api_name=False)
    upload.change(lambda: (None, ""), None, [result, told], api_name=False, queue=False)


def serve_app(
    reader: NoteReader, host: str = "127.0.0.1", port: int | None = 7860, max_megabytes: int = 5, **options: Any
) -> None:
    """Serve the app of a reader until it is stopped; its files lie in a folder for its owner alone, removed at the end.

    Args:
        reader: of notes and files.
        host: address to listen on; another than this computer's own opens the app to the network.
        port: port to listen on; None: the first free one from 7860.
        max_megabytes: largest upload.
        options: further options of `gradio.Blocks.launch`.
    """
    if host not in ("127.0.0.1", "localhost", "::1"):
        logger.warning("the app listens on %s and can be reached from other computers; it asks for no password", host)
    fonts = ("system-ui", "PingFang SC", "Microsoft YaHei", "Noto Sans CJK SC", "sans-serif")
    settings = {
        "theme": gradio.themes.Default(font=fonts, font_mono=("ui-monospace", "monospace")),  # none from elsewhere
        "css": _CSS,
        "share": False,
        "show_error": False,
        "max_file_size": f"{max_megabytes}mb",
        "footer_links": [],
        "ssr_mode": False,
        "enable_monitoring": False,
    }
    with tempfile.TemporaryDirectory(prefix="adner-app-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        build_app(reader).launch(server_name=host, server_port=port, **{**settings, **options})
