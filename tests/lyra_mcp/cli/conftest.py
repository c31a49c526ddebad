"""A model that answers at random, small enough to be trained in seconds."""

import string
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer


@pytest.fixture(name="tiny_model", scope="session")
def _tiny_model(tmp_path_factory) -> Path:
    """A BERT of one layer with random weights."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(5)
    names = ("contradiction", "entailment", "neutral")
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces += [prefix + letter for prefix in ("", "##") for letter in string.ascii_lowercase + string.digits + ".,"]
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(pieces),
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=512,
            initializer_range=0.3,
            id2label=dict(enumerate(names)),
            label2id={name: number for number, name in enumerate(names)},
        )
    )
    model.save_pretrained(folder)
    tokenizer = BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)}, model_max_length=512)
    tokenizer.save_pretrained(folder)
    return folder
