"""What a worker is started with."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from ml_worker.queue import BATCH_TOKENS_MAX, PAIRS_WAITING_MAX


@dataclass(frozen=True)
class Options:
    socket: Path
    nli_model: str
    embedding_model: str
    adapters_root: Path
    #: A folder for each training job.
    jobs_root: Path
    #: Loaded by `/nli/adapter/load` without a path.
    default_adapter: str | None
    #: None: one for each core.
    threads: int | None
    pairs_max: int
    batch_tokens_max: int
    idle_s: float
    linger_s: float
    #: None: standard error.
    log_file: Path | None


def parse(arguments: Sequence[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(
        prog="lyra-worker", description="Judge pairs and embed texts for the Lyra servers of one user."
    )
    # place
    parser.add_argument("--socket", type=Path, required=True, help="Unix socket to answer on, in a private directory")
    parser.add_argument("--log-file", type=Path, help="rotating log; default: standard error")
    # models
    parser.add_argument("--nli-model", default="builtin", help="builtin, a Hugging Face id, or a folder")
    parser.add_argument("--embedding-model", default="builtin", help="builtin, a Hugging Face id, or a folder")
    parser.add_argument("--adapters-root", type=Path, default=user_data_path("lyra") / "adapters")
    parser.add_argument("--jobs-root", type=Path, default=user_data_path("lyra") / "jobs")
    parser.add_argument("--default-adapter", help="what a load without a path means; a path inside the adapters root")
    # work
    parser.add_argument("--threads", type=int, help="default: one for each core")
    parser.add_argument("--pairs-max", type=int, default=PAIRS_WAITING_MAX, help="waiting at most, else `busy`")
    parser.add_argument("--batch-tokens-max", type=int, default=BATCH_TOKENS_MAX, help="padded tokens in one batch")
    # life
    parser.add_argument("--idle-s", type=float, default=900.0, help="leave when nothing was asked for so long")
    parser.add_argument("--linger-s", type=float, default=30.0, help="leave when no server was present for so long")
    return Options(**vars(parser.parse_args(arguments)))
