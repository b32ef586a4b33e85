"""Makes quantised.safetensors: quantised weights and what their reference makes of them.

    python make_quantised.py packing_utils.py   # torch, transformers, bitsandbytes; the file is AutoAWQ's

`NAME.weight` (or `NAME.qweight`) and what stands beside it is stored as the format's writer does it,
`NAME.values` is float32: by bitsandbytes, transformers (FP8 in whole tiles) and AutoAWQ themselves; FP8 in
partial tiles, and GPTQ by their published formulas.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import bitsandbytes.functional as bnb
import torch
from safetensors.torch import save_file

torch.manual_seed(7)
members: dict[str, torch.Tensor] = {}


def four_bits(name: str, shape: tuple[int, int], kind: str, dtype: torch.dtype, nested: bool) -> None:
    values = (torch.randn(shape) * 0.1).to(dtype)
    codes, state = bnb.quantize_4bit(values, blocksize=64, quant_type=kind, compress_statistics=nested)
    members[f"{name}.weight"] = codes
    for key, tensor in state.as_dict(packed=True).items():
        members[f"{name}.weight.{key}"] = tensor.contiguous()
    members[f"{name}.values"] = bnb.dequantize_4bit(codes, state).float()


def eight_bits(name: str, shape: tuple[int, int]) -> None:
    codes, scales, _ = bnb.int8_vectorwise_quant(torch.randn(shape).half())
    members[f"{name}.weight"], members[f"{name}.SCB"] = codes, scales
    members[f"{name}.values"] = bnb.int8_vectorwise_dequant(codes, scales).float()


def float8(name: str, shape: tuple[int, int], tile: tuple[int, int]) -> None:
    rows, columns = shape
    tiles = (-(-rows // tile[0]), -(-columns // tile[1]))
    codes = (torch.randn(shape) * 60).to(torch.float8_e4m3fn)
    codes.view(torch.uint8)[0, :3] = torch.tensor([0, 0x80, 1], dtype=torch.uint8)
    scales = torch.rand(tiles) * 0.01 + 0.001
    members[f"{name}.weight"], members[f"{name}.weight_scale_inv"] = codes, scales
    if rows % tile[0] == 0 and columns % tile[1] == 0:
        from transformers.integrations.finegrained_fp8 import Fp8Dequantize

        values = Fp8Dequantize(None)._dequantize_one(codes, scales)
    else:
        whole = scales.repeat_interleave(tile[0], 0).repeat_interleave(tile[1], 1)
        values = codes.float() * whole[:rows, :columns]
    members[f"{name}.values"] = values.float()


def words(codes: torch.Tensor, bits: int, dim: int, order: list[int] | None = None) -> torch.Tensor:
    """Packs neighbours along `dim`; place `i` of a word holds neighbour `order[i]`."""
    per = 32 // bits
    groups = codes.movedim(dim, -1).reshape(*codes.movedim(dim, -1).shape[:-1], -1, per).long()
    out = torch.zeros(groups.shape[:-1], dtype=torch.long)
    for place, neighbour in enumerate(order or range(per)):
        out |= groups[..., neighbour] << (bits * place)
    return torch.where(out >= 2**31, out - 2**32, out).int().movedim(-1, dim).contiguous()


def awq(name: str, rows: int, columns: int, group: int, packing: Path) -> None:
    spec = importlib.util.spec_from_file_location("packing_utils", packing)
    assert spec and spec.loader
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    order = [0, 2, 4, 6, 1, 3, 5, 7]
    qweight = words(torch.randint(0, 16, (columns, rows)), 4, 1, order)
    qzeros = words(torch.randint(0, 16, (columns // group, rows)), 4, 1, order)
    scales = (torch.rand(columns // group, rows) * 0.1 + 0.001).half()
    members.update({f"{name}.qweight": qweight, f"{name}.qzeros": qzeros, f"{name}.scales": scales})
    values = reference.dequantize_gemm(qweight, qzeros, scales, 4, group)
    members[f"{name}.values"] = values.t().float().contiguous()


def gptq(name: str, rows: int, columns: int, group: int, bits: int, added: int, shuffled: bool) -> None:
    codes = torch.randint(0, 2**bits, (columns, rows))
    zeros = torch.randint(0, 2**bits, (columns // group, rows))
    scales = (torch.rand(columns // group, rows) * 0.1 + 0.001).half()
    groups = torch.arange(columns) // group
    if shuffled:
        groups = groups[torch.randperm(columns)]
    members[f"{name}.qweight"] = words(codes, bits, 0)
    members[f"{name}.qzeros"] = words(zeros, bits, 1)
    members[f"{name}.scales"] = scales
    members[f"{name}.g_idx"] = groups.int()
    values = scales[groups] * (codes - (zeros[groups] + added)).half()
    members[f"{name}.values"] = values.t().float().contiguous()


four_bits("nf4-nested", (48, 128), "nf4", torch.bfloat16, True)
four_bits("nf4", (32, 192), "nf4", torch.float32, False)
four_bits("nf4-straddling", (6, 40), "nf4", torch.float16, False)
four_bits("fp4", (20, 64), "fp4", torch.float16, False)
four_bits("fp4-nested", (24, 64), "fp4", torch.bfloat16, True)
eight_bits("int8", (20, 33))
float8("fp8-whole", (64, 96), (32, 32))
float8("fp8-partial", (40, 72), (32, 32))
awq("awq", 24, 64, 32, Path(sys.argv[1]))
gptq("gptq", 24, 64, 32, 4, 1, False)
gptq("gptq-order", 24, 64, 32, 4, 1, True)
gptq("gptq-8", 24, 64, 32, 8, 1, False)
gptq("gptq-v2", 24, 64, 32, 4, 0, False)
save_file(members, Path(__file__).parent / "quantised.safetensors")
