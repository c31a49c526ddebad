"""LoRA on any encoder: find where it belongs, attach it, count it, and give it the same bytes every time."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save
from torch import nn

from ml_worker import fingerprints
from ml_worker.job_folders import JobRefused
from schema.jobs import NliLoraRecipe

#: What the families call their query and value projections.
QUERY_VALUE_NAMES = (
    ("query", "value"),
    ("query_proj", "value_proj"),
    ("q_proj", "v_proj"),
    ("q_lin", "v_lin"),
    ("Wq", "Wv"),
)
_LAYER = re.compile(r"\.\d+\.")


def find_targets(model: nn.Module, targets: Literal["query_value", "linear"]) -> list[str]:
    """Names, as peft matches them, of the linear layers that get an adapter.

    Raises:
        JobRefused: `no_target_modules`, when the model has none of them.
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if targets == "linear":
        # Only inside the numbered layers: never the pooler or the head.
        found = sorted({_LAYER.split(name, maxsplit=1)[1] for name in linear if _LAYER.search(name)})
        if found:
            return found
    last = {name.rpartition(".")[2] for name in linear}
    for names in QUERY_VALUE_NAMES:
        if targets == "query_value" and last.issuperset(names):
            return list(names)
    raise JobRefused(
        "no_target_modules",
        f"{type(model).__name__} has no layers for targets={targets!r}; its linear layers end in {sorted(last)}; "
        f"train with recipe='default', or serve another base",
    )


def attach(model: nn.Module, recipe: NliLoraRecipe) -> PeftModel:
    """A fresh adapter changes nothing: its second matrix is zero, and the head is a copy."""
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        target_modules=find_targets(model, recipe.targets),
        task_type="SEQ_CLS",
    )
    for module in model.modules():
        # Noise in layers that do not learn costs a CPU as much as the rest of the step; LoRA brings its own dropout.
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return get_peft_model(model, config)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def target_names(model: PeftModel) -> list[str]:
    names: Iterable[str] = model.peft_config["default"].to_dict()["target_modules"]
    return sorted(names)


def trainable_parameters(model: nn.Module) -> int:
    """How many numbers learn: those of the low-rank matrices and of the head."""
    return sum(parameter.numel() for parameter in trainable(model).values())


def trainable_share(model: nn.Module) -> float:
    """Of all the numbers in the model, those that learn included."""
    return trainable_parameters(model) / sum(parameter.numel() for parameter in model.parameters())


def lora_parameters(model: nn.Module) -> int:
    return sum(p.numel() for name, p in trainable(model).items() if ".lora_" in name)


def frozen_sha256(model: nn.Module) -> str:
    """Of the base's own weights inside the model with its adapter."""
    return fingerprints.of_weights({name: p for name, p in model.named_parameters() if not p.requires_grad}).hex()


def interpolate(model: PeftModel, head_before: dict[str, torch.Tensor], strength: float) -> None:
    """Keep a share of what was learned: the product of the two matrices and the head's change both scale.

    Source: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", section 3.
    """
    with torch.no_grad():
        for name, parameter in trainable(model).items():
            if name in head_before:
                parameter.copy_(torch.lerp(head_before[name], parameter, strength))
            elif ".lora_B." in name:
                parameter.mul_(strength)


def _plain(value: Any) -> Any:
    """Sets have no order, and JSON must."""
    return sorted(value) if isinstance(value, set) else getattr(value, "value", value)


def weights(model: PeftModel) -> bytes:
    """What `adapter_model.safetensors` holds; equal weights give equal bytes."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in get_peft_model_state_dict(model).items()}
    return bytes(save(tensors, metadata={"format": "pt"}))


def write_config(model: PeftModel, folder: Path, *, base_model: str) -> None:
    """Write `adapter_config.json`."""
    config = model.peft_config["default"].to_dict()
    config |= {"base_model_name_or_path": base_model, "inference_mode": True}
    text = json.dumps({key: _plain(value) for key, value in config.items()}, indent=1, sort_keys=True)
    (folder / "adapter_config.json").write_text(text, encoding="utf-8")
