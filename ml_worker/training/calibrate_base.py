"""Fit the shipped temperature on half of the development pairs and report on the other half.

    python -m ml_worker.training.calibrate_base --model runs/base/final --dev DATA/nli/dev.jsonl.gz --out scores.json
    python -m ml_worker.training.pack_base --final runs/base/final --scores scores.json --temperature T

The first prints the second with its T. All pairs of one premise lie in the same half. Where the processor
multiplies bfloat16, the pairs are judged in it, as in training; `--float32` judges as the worker serves. 26,617 pairs
take two to four minutes on two cores.
"""

import argparse
import dataclasses
import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ml_worker.base_models import load_base, quiet_libraries
from ml_worker.evaluation.labelled_pairs import (
    BINS,
    LabelledPair,
    cpu_has_bfloat16,
    judge_pairs,
    read_pairs,
    sum_up_by_source,
)
from ml_worker.evaluation.nli import fit_temperature
from ml_worker.nli import NliModel
from schema.vocabulary import LABELS


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of the fine-tuned model, or builtin")
    parser.add_argument("--dev", type=Path, required=True, help="development pairs, gzipped JSON lines")
    parser.add_argument("--out", type=Path, required=True, help="where the scores go, as JSON")
    parser.add_argument("--seed", type=int, default=1, help="of the halves")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tokens-max", type=int, default=256, help="longest pair in tokens")
    parser.add_argument("--float32", action="store_true", help="no bfloat16, also where the processor has it")
    parser.add_argument("--limit", type=int, default=0, help="only so many pairs, evenly chosen (for a try); 0: all")
    return parser.parse_args()


def is_for_fitting(pair: LabelledPair, seed: int) -> bool:
    """Half of the premises, by digest: the halves stay the same whatever is added or left out."""
    return hashlib.sha256(f"{seed}\n{pair.premise}".encode()).digest()[0] % 2 == 0


def thin(pairs: Sequence[LabelledPair], limit: int) -> list[LabelledPair]:
    return list(pairs) if not 0 < limit < len(pairs) else list(pairs[:: -(-len(pairs) // limit)])


def calibrate(pairs: Sequence[LabelledPair], logits: npt.NDArray[np.float64], seed: int) -> dict[str, Any]:
    """The temperature from one half, the scores at it on the other.

    `logits`: (N, 3) in the order of `LABELS`.
    """
    fitting = np.array([is_for_fitting(pair, seed) for pair in pairs])
    temperature = fit_temperature(
        logits[fitting], LABELS, [pair.label for pair, wanted in zip(pairs, fitting, strict=True) if wanted], shipped=1
    )
    rest = [pair for pair, used in zip(pairs, fitting, strict=True) if not used]
    return {
        "temperature": round(temperature, 4),
        "fitted_on": int(fitting.sum()),
        "seed": seed,
        "bins": BINS,
        "accuracy_on_all": {
            source: {name: found[name] for name in ("n", "accuracy", "macro_f1", "majority")}
            for source, found in sum_up_by_source(pairs, logits, temperature).items()
        },
        "other_half": sum_up_by_source(rest, logits[~fitting], temperature),
    }


def show(outcome: dict[str, Any]) -> None:
    print(f"{'source':<22}{'n':>7}{'accuracy':>10}{'macro-F1':>10}{'majority':>10}{'ECE raw':>9}{'ECE':>7}{'NLL':>8}")
    for source, other in outcome["other_half"].items():
        whole = outcome["accuracy_on_all"][source]
        shares = f"{whole['accuracy']:>10.2%}{whole['macro_f1']:>10.2%}{whole['majority']:>10.2%}"
        print(f"{source:<22}{whole['n']:>7}{shares}{other['ece_raw']:>9.2%}{other['ece']:>7.2%}{other['nll']:>8.4f}")
    print("accuracy, macro-F1 and majority on all pairs; ECE and NLL on the half the temperature was not fitted on")


def main() -> None:
    options = arguments()
    quiet_libraries()
    torch.set_num_threads(options.threads)
    base = dataclasses.replace(load_base(options.model), tokens_max=options.tokens_max)
    pairs = thin(read_pairs(options.dev), options.limit)
    bfloat16 = cpu_has_bfloat16() and not options.float32
    since = time.monotonic()
    judged = judge_pairs(
        NliModel(base, torch.device("cpu")), [(p.premise, p.hypothesis) for p in pairs], bfloat16=bfloat16
    )
    outcome = calibrate(pairs, judged.logits, options.seed)
    outcome["arithmetic"] = "bfloat16 autocast" if bfloat16 else "float32"
    options.out.write_text(json.dumps(outcome, indent=1) + "\n", encoding="utf-8")
    show(outcome)
    print(f"{len(pairs)} pairs in {time.monotonic() - since:.0f} s, {outcome['arithmetic']}; wrote {options.out}")
    print(
        f"now: python -m ml_worker.training.pack_base --final {options.model} --scores {options.out} "
        f"--temperature {outcome['temperature']}"
    )


if __name__ == "__main__":
    main()
