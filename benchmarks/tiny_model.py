"""A BERT of two layers with random weights: a worker loads and trains it in seconds, with the real code."""

import string
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

NAMES = ("contradiction", "entailment", "neutral")


def write_tiny_model(folder: Path) -> Path:
    torch.manual_seed(5)
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    pieces += [prefix + letter for prefix in ("", "##") for letter in string.ascii_lowercase + string.digits + ".,"]
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=1024,
        max_position_embeddings=512,
        initializer_range=0.1,
        id2label=dict(enumerate(NAMES)),
        label2id={name: number for number, name in enumerate(NAMES)},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    vocab = {piece: number for number, piece in enumerate(pieces)}
    BertTokenizer(vocab=vocab, model_max_length=512).save_pretrained(folder)
    return folder
