"""Push to the Hub during training: only files of a checkpoint, one commit per push, never `private/`."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterable
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd, HfApi
from transformers import Trainer, TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import HubStrategy
from transformers.utils import PushInProgress

from hf_adner.hub.checkpoint_files import published_files, resumed_files

logger = logging.getLogger(__name__)


class CheckpointPush(Trainer):
    """A `Trainer` that pushes only the files selected by `checkpoint_files`.

    `Trainer` pushes its whole output folder, and with `hub_strategy="checkpoint"` or `"all_checkpoints"` the whole
    folder of a checkpoint, including the raw explanation statistics in `private/` and pickled arguments. Here only
    published files are pushed to the top of the repository, and only resumable files to a checkpoint's folder.

    Raises:
        ValueError: `push_to_hub` with a lexicon made from documents, unless `hub_allow_document_lexicon` allows it.
    """

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        """Create the repository if it does not exist; with `push_to_hub` this is done before training."""
        self._check_push()
        super().init_hf_repo(token, private)

    def _check_push(self) -> None:
        if not hasattr(Trainer, "_push_from_checkpoint"):
            raise RuntimeError("this version of transformers pushes in another way, which might upload private files")
        lexicon = getattr(self.processing_class, "lexicon", None)
        if lexicon is not None:
            lexicon.check_shareable(getattr(self.args, "hub_allow_document_lexicon", False))

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> CommitInfo | Future | None:
        """Save the model in `output_dir`, write its card and push the published files in one commit.

        Args:
            commit_message, token, revision, private: as for `Trainer.push_to_hub`.
            blocking: wait for the upload.
            kwargs: passed to `create_model_card`.

        Returns:
            The commit; a future of it if not `blocking`; None in every process except the first.
        """
        self._check_push()
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        if self.hub_model_id is None:
            self.init_hf_repo(token=token, private=private)
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        model_name = kwargs.pop("model_name", None) or self.hub_model_id.rsplit("/", 1)[-1]
        self.create_model_card(model_name=model_name, **kwargs)
        self._finish_current_push()
        folder = Path(self.args.output_dir)
        additions = _additions(folder, published_files(folder))
        return self._commit(additions, commit_message, token, revision or self.args.hub_revision, not blocking)

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END:
            return
        is_busy = self.push_in_progress is not None and not self.push_in_progress.is_done()
        if is_busy and not self.args.hub_always_push:
            return
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        checkpoint = Path(checkpoint_folder)
        staged = _stage(checkpoint, Path(self.args.output_dir))
        additions = _additions(staged, published_files(staged))
        if self.args.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
            is_last = self.args.hub_strategy == HubStrategy.CHECKPOINT
            target = "last-checkpoint" if is_last else checkpoint.name
            additions += _additions(staged, resumed_files(staged), target)
        message = f"Training in progress, step {self.state.global_step}"
        job = self._commit(additions, message, None, self.args.hub_revision, in_background=True)
        job.add_done_callback(lambda done: _after_push(done, staged))
        if is_busy:
            self.push_in_progress.jobs.append(job)
        else:
            self.push_in_progress = PushInProgress([job])

    def _commit(
        self,
        additions: list[CommitOperationAdd],
        message: str,
        token: str | None,
        revision: str | None,
        in_background: bool,
    ) -> CommitInfo | Future:
        return self._hub.create_commit(
            self.hub_model_id,
            additions,
            commit_message=message,
            token=token or self.args.hub_token,
            revision=revision,
            run_as_future=in_background,
        )

    @cached_property
    def _hub(self) -> HfApi:
        return HfApi(library_name="hf_adner")  # a single object for all pushes: its background jobs run in order


def _additions(folder: Path, names: Iterable[str], target: str = "") -> list[CommitOperationAdd]:
    return [CommitOperationAdd(os.path.join(target, name), folder / name) for name in names]


def _stage(checkpoint: Path, output: Path) -> Path:
    """Link a checkpoint's files into a new folder, because the checkpoint may be deleted before it is uploaded.

    The trainer's state is written again: it names the folder of the best checkpoint on this machine.
    """
    staged = Path(tempfile.mkdtemp(prefix=".push-", dir=output))
    for name in resumed_files(checkpoint):
        (staged / name).parent.mkdir(parents=True, exist_ok=True)
        if name == TRAINER_STATE_NAME:
            _write_state(checkpoint / name, staged / name)
            continue
        try:
            os.link(checkpoint / name, staged / name)
        except OSError:  # a file system without hard links
            shutil.copy2(checkpoint / name, staged / name)
    return staged


def _write_state(source: Path, target: Path) -> None:
    state = TrainerState.load_from_json(str(source))
    state.best_model_checkpoint = state.best_model_checkpoint and Path(state.best_model_checkpoint).name
    state.save_to_json(str(target))


def _after_push(job: Future, staged: Path) -> None:
    shutil.rmtree(staged, ignore_errors=True)
    if not job.cancelled() and job.exception() is not None:
        logger.warning("a checkpoint was not pushed: %s: %s", type(job.exception()).__name__, job.exception())
