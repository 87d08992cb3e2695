"""The function of input ids that captum attributes, for the comparisons of this room."""

import torch

from hf_adner.explain.targets import Target
from hf_adner.explain.text_windows import TextWindow
from hf_adner.model.windows_adner import Window


class Forward(torch.nn.Module):
    """(input ids, lexicon ids) -> the target of one entity; other inputs are expanded to captum's batch."""

    def __init__(self, case, text, entity, drops_hidden_words=False):
        super().__init__()
        tagger = self.tagger = case.tagger
        self.batch = tagger.encode([text], [TextWindow(0, Window(0, len(text)))])
        self.place = self.batch.tokens_of(0, entity)
        self.target = Target("label", tagger.labels)
        self.model, self.drops_hidden_words = tagger.model, drops_hidden_words
        self.ids = self.batch.inputs["input_ids"]
        self.words = self.batch.inputs.get("lexicon_ids")
        self.masked = torch.where(self.batch.is_text, tagger.mask_id, self.ids)

    @property
    def inputs(self):
        return (self.ids,) if self.words is None else (self.ids, self.words)

    @property
    def baselines(self):
        return (self.masked,) if self.words is None else (self.masked, torch.zeros_like(self.words))

    @property
    def layers(self):
        layers = [self.model.get_input_embeddings()]
        return layers if self.tagger._word_table is None else [*layers, self.tagger._word_table]

    def forward(self, ids, words=None):
        replaced = {"input_ids": ids}
        if words is not None:
            replaced["lexicon_ids"] = words
        inputs = self.batch.copies(len(ids), **replaced)
        if self.drops_hidden_words and "lexicon_ids" in inputs:
            inputs["lexicon_ids"] = self._whole_words(ids, inputs)
        tagging = self.tagger.tag(inputs)
        return self.target(tagging, [self.place._replace(row=row) for row in range(len(ids))])

    def _whole_words(self, ids, inputs):
        words = inputs["lexicon_ids"].clone()
        for row in range(len(ids)):
            for word in range(words.shape[1]):
                start, end = inputs["lexicon_starts"][row, word], inputs["lexicon_ends"][row, word]
                if (ids[row, start:end] == self.tagger.mask_id).any():
                    words[row, word] = 0
        return words
