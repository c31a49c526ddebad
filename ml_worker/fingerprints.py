"""SHA-256 over everything that decides what a model answers: weights, tokenizer, label order."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch


def of_weights(state: Mapping[str, torch.Tensor]) -> bytes:
    """Digest of a state dict: names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.digest()


def of_tokenizer(tokenizer: Any) -> bytes:
    """Digest of a fast tokenizer, without the truncation and padding that calls leave behind in it."""
    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content.pop("truncation", None)
    content.pop("padding", None)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


def fingerprint(state: Mapping[str, torch.Tensor], tokenizer: Any, labels: Sequence[str] = ()) -> str:
    """SHA-256 in hexadecimal; `labels` in the order of the columns."""
    digest = hashlib.sha256(of_weights(state) + of_tokenizer(tokenizer))
    digest.update(json.dumps(list(labels)).encode())
    return digest.hexdigest()
