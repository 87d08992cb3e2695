"""The exported part of a model gives the emissions of the whole model."""

import pytest
import torch

from hf_adner.model.configuration_adner import ARCHITECTURES
from hf_adner.model.layers_adner import BidirectionalLSTM
from hf_adner.serve.onnx_export import EmissionNetwork, OnnxBidirectionalLSTM

from .test_onnx_tagger import TEXTS, make_checkpoint


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_emissions_are_those_of_the_model(architecture):
    model, tokenizer = make_checkpoint(architecture)
    network = EmissionNetwork(model)
    inputs = tokenizer([text[:20] for text in TEXTS if text], padding=True, return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
        emissions = network(*(inputs[name] for name in network.input_names))
    if not model.config.use_crf:
        emissions = emissions.log_softmax(-1)
    difference = (emissions - outputs.emissions).abs()[outputs.text_mask.bool()]
    assert difference.max() < 1e-4
    assert len(network.example()) == len(network.input_names)


def test_the_model_itself_is_left_as_it_is():
    model, _ = make_checkpoint("bilstm-crf")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    network = EmissionNetwork(model).with_onnx_layers()
    kinds = [type(module) for module in network.modules()]
    assert OnnxBidirectionalLSTM in kinds and BidirectionalLSTM not in kinds
    after = model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
