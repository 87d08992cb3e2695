import pickle

import pytest
import torch

from hf_adner.model.lexicon_adner import Lexicon
from hf_adner.model.tokenization_adner import AdnerTokenizer
from hf_adner.perturb.context import SimilarWords

WORDS = Lexicon(["反复", "经常", "时常常", "加重", "减轻", "空白"])
VECTORS = torch.tensor([[0, 0], [1, 0], [1, 0.2], [1, 0.1], [0, 1], [-0.1, 1], [0, 0]], dtype=torch.float)


def test_neighbours_by_cosine_and_length():
    similar = SimilarWords(WORDS, VECTORS)
    assert similar.nearest("反复") == [("经常", pytest.approx(1.04**-0.5))]
    assert [word for word, _ in SimilarWords(WORDS, VECTORS, same_length=False).nearest("反复")] == ["经常", "时常常"]
    assert similar.nearest("空白") == [] == similar.nearest("没有的")
    assert SimilarWords(WORDS, VECTORS, excluded=["经常"]).nearest("反复") == []
    everything = SimilarWords(WORDS, VECTORS, minimum=-1, same_length=False).nearest("反复")
    assert len(everything) == 5 and len(SimilarWords(WORDS, VECTORS, minimum=-1, top=2).nearest("反复")) == 2


def test_vectors_must_be_those_of_the_lexicon():
    with pytest.raises(ValueError, match=r"vectors are \(3, 2\), expected \(7, dimension\)"):
        SimilarWords(WORDS, VECTORS[:3])
    with pytest.raises(ValueError, match="top is 0"):
        SimilarWords(WORDS, VECTORS, top=0)


def test_from_embeddings_and_through_pickle():
    tokenizer = AdnerTokenizer.from_texts(["红斑红疹加重"], lexicon=Lexicon(["红斑", "红疹", "加重"]))
    torch.manual_seed(0)
    similar = SimilarWords.from_embeddings(tokenizer, torch.randn(len(tokenizer), 16), size=8, minimum=-1, top=1)
    [(nearest, cosine)] = similar.nearest("红斑")
    assert nearest == "红疹" and 0 < cosine < 1  # they share a character
    assert pickle.loads(pickle.dumps(similar)).nearest("红斑") == similar.nearest("红斑")
