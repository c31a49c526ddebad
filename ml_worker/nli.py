"""Judge batches of (premise, hypothesis): tokens, logits by label name, and the pair's representation."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.nn import functional

from ml_worker.base_models import BaseModel
from ml_worker.errors import Failed, OutOfMemory
from schema.wire import Judgement, Pair, PerLabel

if TYPE_CHECKING:
    from ml_worker.adapters import Adapter

#: A text of more characters is cut before the pair is encoded: the tokenizer keeps every combination of the
#: overflowing parts of both texts, so two texts of 48,000 characters took it 48 s.
CHARS_PER_TOKEN_MAX = 2


def representation_layer(layers: int) -> int:
    """Whose output represents a pair: a middle one keeps what the pair is about, the last only its label."""
    return layers // 2


@dataclass(frozen=True)
class EncodedPair:
    """Token ids of one pair, not padded, special tokens included."""

    inputs: Mapping[str, list[int]]
    truncated: bool

    @property
    def length(self) -> int:
        return len(self.inputs["input_ids"])


class NliModel:
    """One base model on one device; an adapter comes with each call and leaves no trace."""

    def __init__(self, base: BaseModel, device: torch.device) -> None:
        base.model.to(device)
        self.base = base
        self.device = device

    def encode(self, pairs: Sequence[Pair]) -> list[EncodedPair]:
        """Tokens of each pair, the longer text cut first where both do not fit."""
        encoded = self.base.tokenizer(
            [self._cut(pair.premise) for pair in pairs],
            [self._cut(pair.hypothesis) for pair in pairs],
            truncation="longest_first",
            max_length=self.base.tokens_max,
        )
        return [
            EncodedPair(
                inputs={name: rows[i] for name, rows in encoded.items() if name != "attention_mask"},
                truncated=bool(encoded.encodings[i].overflowing),
            )
            for i in range(len(pairs))
        ]

    def _cut(self, text: str) -> str:
        """The text's beginning, still at least `tokens_max` tokens long where it was."""
        limit = self.base.tokens_max
        if len(text) <= limit * CHARS_PER_TOKEN_MAX:
            return text
        offsets = self.base.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
        return text if len(offsets) <= limit else text[: offsets[limit][1]]

    def judge(
        self, encoded: Sequence[EncodedPair], adapter: "Adapter | None", *, representation: bool
    ) -> list[Judgement]:
        """One forward pass.

        Raises:
            OutOfMemory: the batch does not fit on the device.
            Failed: a logit is not finite.
        """
        batch = self.pad(encoded)
        try:
            logits, vectors = self._forward(batch, adapter, representation=representation)
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise OutOfMemory(f"{len(encoded)} pairs do not fit into the memory of {self.device}") from error
        except RuntimeError as error:  # the CPU's allocator has no type of its own
            if "can't allocate memory" in str(error) or "not enough memory" in str(error):
                raise OutOfMemory(f"{len(encoded)} pairs do not fit into memory") from error
            raise
        if not logits.isfinite().all() or (vectors is not None and not vectors.isfinite().all()):
            raise Failed("the model answered with numbers that are not finite; load another adapter or base model")
        return [
            Judgement(
                logits=PerLabel(**dict(zip(self.base.labels, row, strict=True))),
                truncated=pair.truncated,
                representation=None if vectors is None else encode_vector(vectors[i]),
            )
            for i, (row, pair) in enumerate(zip(logits.tolist(), encoded, strict=True))
        ]

    def pad(self, encoded: Sequence[EncodedPair], *, multiple: int = 1) -> dict[str, torch.Tensor]:
        """Each (B, T) int64, T a multiple, padded on the right, and the mask of real tokens."""
        longest = -(-max(pair.length for pair in encoded) // multiple) * multiple
        fill = {"input_ids": self.base.tokenizer.pad_token_id}
        batch = {
            name: torch.tensor(
                [pair.inputs[name] + [fill.get(name, 0)] * (longest - pair.length) for pair in encoded],
                device=self.device,
            )
            for name in encoded[0].inputs
        }
        batch["attention_mask"] = torch.tensor(
            [[1] * pair.length + [0] * (longest - pair.length) for pair in encoded], device=self.device
        )
        return batch

    @torch.inference_mode()
    def _forward(
        self, batch: dict[str, torch.Tensor], adapter: "Adapter | None", *, representation: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits (B, 3) and representations (B, H), both float32 on the CPU."""
        parameters = {} if adapter is None else dict(adapter.parameters)
        arguments = {**batch, "output_hidden_states": representation}
        output: Any = torch.func.functional_call(self.base.model, parameters, (), arguments)
        logits = cast("torch.Tensor", output.logits).float().cpu()  # (B, 3)
        if not representation:
            return logits, None
        hidden = output.hidden_states[representation_layer(len(output.hidden_states) - 1)].float()  # (B, T, H)
        mask = batch["attention_mask"].unsqueeze(-1)  # (B, T, 1)
        mean = (hidden * mask).sum(dim=1) / mask.sum(dim=1)  # (B, H)
        return logits, functional.normalize(mean, dim=-1).cpu()


def encode_vector(vector: torch.Tensor) -> str:
    """Base64 of (H,) float32, little endian."""
    return base64.b64encode(vector.numpy().astype("<f4").tobytes()).decode("ascii")
