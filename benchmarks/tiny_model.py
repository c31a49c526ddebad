"""A BERT with random weights, a few layers small: a worker loads and trains it in seconds, with the real code."""

import string
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

NAMES = ("contradiction", "entailment", "neutral")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = (*string.ascii_lowercase, *string.digits, ".", ",")


def write_tiny_model(
    folder: Path,
    *,
    hidden: int = 256,
    layers: int = 2,
    positions: int = 512,
    spread: float = 0.1,
    sureness: float = 1.0,
    words: Sequence[str] = (),
    names: Sequence[str] = NAMES,
    seed: int = 5,
) -> Path:
    """An NLI model as a folder; `spread` is of its random weights, `sureness` multiplies its logits."""
    torch.manual_seed(seed)
    pieces = [*SPECIAL, *words, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(pieces),
            hidden_size=hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            intermediate_size=4 * hidden,
            max_position_embeddings=positions,
            initializer_range=spread,
            id2label=dict(enumerate(names)),
            label2id={name: number for number, name in enumerate(names)},
        )
    )
    with torch.no_grad():
        model.classifier.weight.mul_(sureness)
    model.save_pretrained(folder)
    vocab = {piece: number for number, piece in enumerate(pieces)}
    BertTokenizer(vocab=vocab, model_max_length=positions).save_pretrained(folder)
    return folder
