"""The shipped base as a difference from the public encoder: int8 rows with one scale each, small tensors in full."""

from collections.abc import Mapping

import torch

#: Trained tensors smaller than this are stored as they are; the rows of the others are quantised.
ELEMENTS_MIN = 4096
QUANTISED, SCALE = ".q", ".scale"

Tensors = Mapping[str, torch.Tensor]


def is_quantised(name: str, tensor: torch.Tensor) -> bool:
    return tensor.dim() == 2 and tensor.numel() >= ELEMENTS_MIN and not name.startswith("classifier.")  # noqa: PLR2004  # a matrix


def subtract(trained: Tensors, encoder: Tensors) -> dict[str, torch.Tensor]:
    """What must be stored so that `add` gives `trained` back, up to rounding.

    Matrices (R, C) float32 become `name.q` (R, C) int8 and `name.scale` (R, 1) float32; other changed tensors
    are stored whole.
    """
    stored: dict[str, torch.Tensor] = {}
    for name, tensor in trained.items():
        known = encoder.get(name)
        if known is not None and torch.equal(known, tensor):
            continue
        if known is None or not is_quantised(name, tensor):
            stored[name] = tensor.float().contiguous()
            continue
        change = tensor.float() - known.float()  # (R, C)
        scale = (change.abs().amax(dim=1, keepdim=True) / 127).clamp_min(torch.finfo(torch.float32).tiny)  # (R, 1)
        stored[name + QUANTISED] = (change / scale).round().to(torch.int8)
        stored[name + SCALE] = scale
    return stored


def add(stored: Tensors, encoder: Tensors) -> dict[str, torch.Tensor]:
    """The changed tensors, float32: inverse of `subtract`."""
    changed = {}
    for name, tensor in stored.items():
        if name.endswith(QUANTISED):
            whole = name.removesuffix(QUANTISED)
            changed[whole] = encoder[whole] + tensor.float() * stored[whole + SCALE]
        elif not name.endswith(SCALE):
            changed[name] = tensor
    return changed
