"""Embed texts with a sentence-transformers model, loaded when the first text comes."""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer

from ml_worker.base_models import BUILTIN
from ml_worker.device import one_thread
from ml_worker.encoder import TamperedFile, encoder_folder
from ml_worker.errors import Failed, OutOfMemory
from ml_worker.fingerprints import fingerprint
from ml_worker.nli import encode_vector
from schema.wire import EmbedReply

TEXTS_PER_BATCH = 32
#: Texts of so few characters together, such as a question, are computed by one thread: measured in docs/experiments.md.
SHORT_CHARS_MAX = 8_000


class Embedder:
    def __init__(self, name: str, device: torch.device) -> None:
        self._name = name
        self._device = device
        self._model, self._fingerprint = _load(name, device)

    def embed(self, texts: Sequence[str]) -> EmbedReply:
        """Vectors (N, D) float32 of unit length."""
        is_short = sum(map(len, texts)) <= SHORT_CHARS_MAX
        try:
            with one_thread() if is_short else nullcontext():
                vectors = self._model.encode(
                    list(texts),
                    batch_size=TEXTS_PER_BATCH,
                    convert_to_tensor=True,
                    normalize_embeddings=True,
                    show_progress_bar=False,
                )
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise OutOfMemory(f"{len(texts)} texts do not fit into the memory of {self._device}; send fewer") from error
        vectors = vectors.float().cpu()  # (N, D)
        if not vectors.isfinite().all():
            raise Failed("the embedding model answered with numbers that are not finite; choose another")
        return EmbedReply(
            vectors=[encode_vector(vector) for vector in vectors],
            dimension=vectors.shape[1],
            model=self._name,
            fingerprint=self._fingerprint,
            device=str(self._device),
        )


def _load(name: str, device: torch.device) -> tuple[Any, str]:
    try:
        folder = str(encoder_folder()) if name == BUILTIN else str(Path(name).expanduser())
        model = SentenceTransformer(
            folder if Path(folder).is_dir() else name,
            device=str(device),
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError, ImportError, TamperedFile) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise Failed(
            f"cannot load the embedding model {name!r}: {reason}; while online run `lyra-mcp models pull {name}`, "
            f"or set LYRA_EMBEDDING_MODEL to a folder"
        ) from error
    return model.eval(), fingerprint(model.state_dict(), model.tokenizer)
