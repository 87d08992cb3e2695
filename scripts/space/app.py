"""A Hugging Face Space that shows a checkpoint: set the variable ADNER_MODEL to its name on the Hub."""

import os

from hf_adner.explain.documents import ExplainedCheckpoint
from hf_adner.serve.app import NoteReader, serve_app

model = os.environ.get("ADNER_MODEL")
if not model:
    raise SystemExit("set the variable ADNER_MODEL of the Space to the name of a checkpoint (owner/name)")
checkpoint = ExplainedCheckpoint.load(model, revision=os.environ.get("ADNER_REVISION"))
# a Space is reached from outside; it asks for 0.0.0.0 by GRADIO_SERVER_NAME
words = {"constraints": os.environ.get("ADNER_CONSTRAINTS"), "codes": os.environ.get("ADNER_CODE_TABLE")}
serve_app(NoteReader(checkpoint, **words), host=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"))
