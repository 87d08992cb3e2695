"""Text under construction."""

from hf_adner.data.synthetic.grammar import CONTEXT, Draft


def test_waiting_cues_are_tied_once():
    draft = Draft()
    draft.write("忌")
    draft.cue(0, CONTEXT, forward=True)
    for surface in ("虾", "蟹"):
        first = draft.mention(surface, "Trigger")
        draft.settle(first)
    assert [(c.mark, c.start, c.end) for c in draft.cues] == [(0, 0, 1)]


def test_an_empty_cue_is_ignored():
    draft = Draft("虾")
    draft.cue(1, CONTEXT, forward=False)
    draft.cue(1, CONTEXT, forward=True)
    assert draft.cues == [] and draft.waiting == []
