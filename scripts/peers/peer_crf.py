"""A pytest plugin that puts `AdnerCRF` in the place of `torchcrf.CRF`; used by `scripts/peers.sh`."""

import torchcrf

from hf_adner.model.crf_adner import AdnerCRF


class PeerCRF(AdnerCRF):
    """`AdnerCRF` with the constructor of `torchcrf.CRF`: time first unless `batch_first`."""

    def __init__(self, num_tags: int, batch_first: bool = False):
        super().__init__(num_tags)
        self.batch_first = batch_first

    def _batch_first(self, *tensors):
        return [one if one is None or self.batch_first else one.transpose(0, 1) for one in tensors]

    def forward(self, emissions, tags, mask=None, reduction="sum"):
        """As `torchcrf.CRF.forward`."""
        return super().forward(*self._batch_first(emissions, tags, mask), reduction=reduction)

    def decode(self, emissions, mask=None):
        """As `torchcrf.CRF.decode`."""
        return super().decode(*self._batch_first(emissions, mask))


torchcrf.CRF = PeerCRF
