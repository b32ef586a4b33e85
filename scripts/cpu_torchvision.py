"""Imported before transformers: lets PyPI's torchvision, built for CUDA, live beside a CPU build of torch.

Its operators do not load there, and its import fails for want of their declarations ("operator
torchvision::nms does not exist"). The comparisons use its Python parts only. Beside the torch that it was
built for this does nothing.
"""

from __future__ import annotations

import contextlib

import torch

declared = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms"):
    with contextlib.suppress(RuntimeError):
        declared.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
