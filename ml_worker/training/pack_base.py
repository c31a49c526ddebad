"""Pack a fine-tuned base into what we ship: its int8 difference from the public encoder, and a manifest.

    python -m ml_worker.training.pack_base --final runs/base/final --scores scores.json --temperature 1.3

`--checkpoint runs/base/checkpoint.pt` packs a run that has not ended.
"""

import argparse
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from transformers import AutoTokenizer, BertForSequenceClassification

from ml_worker import difference
from ml_worker.base_models import BUILTIN_FOLDER, DIFFERENCE, MANIFEST, Manifest, load_builtin, quiet_libraries
from ml_worker.encoder import encoder_folder, sha256
from schema.vocabulary import LABELS, Label

#: For the reported distance between the trained model and the packed one.
PROBES = (
    ("A man is playing a guitar on stage.", "A man makes music."),
    ("A man is playing a guitar on stage.", "The stage is empty."),
    ("The trial enrolled 412 patients in nine hospitals.", "More than four hundred patients took part."),
    ("The report was published in March.", "The report recommends lower taxes."),
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--final", type=Path, help="folder of the fine-tuned model (save_pretrained)")
    source.add_argument("--checkpoint", type=Path, help="checkpoint.pt of a run that has not ended")
    parser.add_argument("--out", type=Path, default=BUILTIN_FOLDER)
    parser.add_argument("--scores", type=Path, help="JSON with the numbers to keep in the manifest")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--tokens-max", type=int, default=256, help="longest pair in tokens")
    return parser.parse_args()


def encoder_model(labels: tuple[Label, ...]) -> Any:
    return BertForSequenceClassification.from_pretrained(
        encoder_folder(), num_labels=len(labels), id2label=dict(enumerate(labels)), dtype=torch.float32
    )


def read_trained(options: argparse.Namespace) -> tuple[dict[str, torch.Tensor], tuple[Label, ...]]:
    """The trained state dict, and the labels in the order of the head's columns."""
    if options.checkpoint:
        state = torch.load(options.checkpoint, map_location="cpu", weights_only=True)
        print(f"checkpoint at step {state['step']}")
        return {**state["model"], **state["average"]}, LABELS
    config = json.loads((options.final / "config.json").read_text(encoding="utf-8"))
    labels = tuple(config["id2label"][str(column)] for column in range(len(config["id2label"])))
    return load_file(options.final / "model.safetensors"), labels


def shorten(argument: str) -> str:
    """The end of a path: where the runs lie on this machine is of no interest elsewhere."""
    return "/".join(Path(argument).parts[-2:]) if argument.startswith("/") else argument


def write(path: Path, content: bytes) -> None:
    """All of it or nothing."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def logits(model: Any) -> torch.Tensor:
    """Of `PROBES`: (4, 3) float32."""
    tokenizer = AutoTokenizer.from_pretrained(encoder_folder())
    premises, hypotheses = map(list, zip(*PROBES, strict=True))
    with torch.inference_mode():
        result: torch.Tensor = model.eval()(**tokenizer(premises, hypotheses, padding=True, return_tensors="pt")).logits
    return result


def main() -> None:
    options = arguments()
    quiet_libraries()
    trained, labels = read_trained(options)
    model = encoder_model(labels)
    # The head of a fresh model is random: it belongs to no encoder.
    encoder = {name: t.clone() for name, t in model.state_dict().items() if not name.startswith("classifier.")}
    stored = difference.subtract(trained, encoder)
    if changed := [name for name in stored if ".word_embeddings." in name or ".position_embeddings." in name]:
        raise SystemExit(f"{changed} differ from the encoder; train with frozen embeddings (ml_worker.training.base)")

    options.out.mkdir(parents=True, exist_ok=True)
    write(options.out / DIFFERENCE, save(stored))
    manifest = Manifest(
        difference_sha256=sha256(options.out / DIFFERENCE),
        labels=labels,
        temperature=options.temperature,
        tokens_max=options.tokens_max,
        scores=json.loads(options.scores.read_text(encoding="utf-8")) if options.scores else None,
        command="python -m ml_worker.training.pack_base " + shlex.join(map(shorten, sys.argv[1:])),
    )
    write(options.out / MANIFEST, (manifest.model_dump_json(indent=2) + "\n").encode())

    model.load_state_dict(trained)
    distance = (logits(model) - logits(load_builtin(options.out).model)).abs().max().item()
    size = (options.out / DIFFERENCE).stat().st_size
    print(f"{options.out}: {size / 1e6:.1f} MB, logits at most {distance:.4f} from the trained model's")


if __name__ == "__main__":
    main()
