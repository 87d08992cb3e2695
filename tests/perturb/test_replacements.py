import random

from hf_adner.perturb.edits import Edit, Masks, Replacements, edits_of
from hf_adner.perturb.perturbed import MASK
from hf_adner.perturb.surface import Confusions
from hf_adner.perturb.units import Unit

from .documents import note


def test_masks_for_every_character():
    units = [Unit(0, 2), Unit(4, 5)]
    assert Masks().propose(note(), units, random.Random(0)) == [MASK * 2, MASK]
    assert isinstance(Masks(), Replacements) and isinstance(Confusions(), Replacements)


def test_edits_skip_what_has_no_proposal():
    units = [Unit(0, 2), Unit(4, 5), Unit(6, 7)]
    assert edits_of(units, [MASK * 2, None, "热"]) == [Edit(0, 2, MASK * 2, masked=True), Edit(6, 7, "热")]
