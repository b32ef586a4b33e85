"""What the scripts that make small random checkpoints share: weights, greedy continuations, files."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel


def fill(model: PreTrainedModel, seed: int, gain: float = 2.5) -> None:
    """Weights whose logits are not flat, as those of the default initialisation are."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            noise = torch.randn(weight.shape, generator=generator)
            if weight.ndim >= 2:
                factor = gain if "o_proj" in name or "down_proj" in name else 1.0
                weight.copy_(noise * factor / math.sqrt(weight[0].numel()))
            elif name.endswith("bias"):
                weight.copy_(noise * 0.2)
            else:
                weight.copy_(1 + 0.2 * noise)


def greedy(
    last: Callable[[list[int]], torch.Tensor], count: int, refused: tuple[int, ...] = ()
) -> tuple[list[int], float]:
    """A continuation by full recomputation and its smallest margin, none where a token is refused.

    `last`: the logits after such a continuation.
    """
    tokens: list[int] = []
    margin = math.inf
    while len(tokens) < count:
        best = last(tokens).topk(2)
        margin = min(margin, float(best.values[0] - best.values[1]))
        tokens.append(int(best.indices[0]))
        if tokens[-1] in refused:
            return tokens, 0.0
    return tokens, margin


def after(model: PreTrainedModel, ids: torch.Tensor) -> Callable[[list[int]], torch.Tensor]:
    """What a text model's logits are after `ids` and a continuation."""
    return lambda more: model(torch.cat([ids, torch.tensor(more, dtype=torch.long)])[None]).logits[0, -1]


def tidy(folder: Path) -> None:
    """Leaves what a checkpoint's folder needs, the same wherever it is made."""
    (folder / "generation_config.json").unlink(missing_ok=True)
    weights = folder / "model.safetensors"
    if weights.exists():
        # Without metadata.
        save_file(load_file(weights), weights)
    for file in folder.iterdir():
        file.chmod(0o644)
