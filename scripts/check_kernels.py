"""Compiles the CUDA kernels by NVRTC, which needs no GPU and no driver, and reports what each needs.

    scripts/check_kernels.py [--verbose] [FOLDER WITH libnvrtc.so.13]

Every file of Sources/Inference/CCuda/kernels is compiled as the engine compiles it: common.cu in front, once
for each element type where it has kernels for each, for each architecture below. A kernel that spills
registers is an error, and so is a warning.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ARCHITECTURES = ("sm_80", "sm_90")
TYPES = {1: "float32", 2: "bfloat16", 4: "float16", 7: "all"}
KERNELS = Path(__file__).resolve().parent.parent / "Sources/Inference/CCuda/kernels"


def library(folder: str | None) -> ctypes.CDLL:
    """NVRTC from `folder` or from the Python environment that runs this."""
    if folder is None:
        found = list(Path(sys.prefix).glob("lib/python*/site-packages/nvidia/cu13/lib"))
        if not found:
            raise SystemExit("no nvidia-cuda-nvrtc in this Python environment")
        folder = str(found[0])
    # By its own folder it finds the built-ins beside it.
    for builtins in Path(folder).glob("libnvrtc-builtins.so.*"):
        ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(Path(folder) / "libnvrtc.so.13"))


def compile_text(nvrtc: ctypes.CDLL, text: str, name: str, architecture: str) -> tuple[bool, str, int]:
    """Whether it compiled, the log, and the bytes of machine code."""
    program = ctypes.c_void_p()
    options = [f"--gpu-architecture={architecture}", "--std=c++17", "--ptxas-options=-v", "-default-device"]
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), name.encode(), 0, None, None)
    pointers = (ctypes.c_char_p * len(options))(*[o.encode() for o in options])
    good = nvrtc.nvrtcCompileProgram(program, len(options), pointers) == 0
    size = ctypes.c_size_t()
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    code = ctypes.c_size_t()
    if good:
        nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(code))
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return good, log.value.decode(errors="replace"), code.value


def needs(log: str) -> dict[str, tuple[int, int, int]]:
    """Registers, bytes spilled and stack bytes by kernel, from the assembler's report."""
    answer: dict[str, tuple[int, int, int]] = {}
    kernel, spilled, stack = "", 0, 0
    for line in log.splitlines():
        if found := re.search(r"Compiling entry function '(\w+)'", line):
            kernel, spilled, stack = found[1], 0, 0
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill \w+, (\d+) bytes", line):
            stack, spilled = int(found[1]), int(found[2]) + int(found[3])
        elif found := re.search(r"Used (\d+) registers", line):
            answer[kernel] = (int(found[1]), spilled, stack)
    return answer


def units() -> list[tuple[Path, int, str]]:
    """Files, element types (common.cu's TG_TYPES) and architectures, what takes longest first."""
    answer = []
    for path in sorted(KERNELS.glob("*.cu"), key=lambda p: -p.read_text().count("TG_KERNEL")):
        if path.name != "common.cu":
            types = (1, 2, 4) if "TG_EACH_TYPE(" in path.read_text() else (7,)
            answer += [(path, t, a) for t in types for a in ARCHITECTURES]
    return answer


def check(nvrtc: ctypes.CDLL, path: Path, types: int, architecture: str, verbose: bool) -> tuple[bool, str]:
    """Whether a file is as it should be, and what to say of it."""
    common = (KERNELS / "common.cu").read_text()
    text = f'#define TG_TYPES {types}\n#line 1 "common.cu"\n{common}\n#line 1 "{path.name}"\n'
    text += path.read_text()
    begun = time.monotonic()
    good, log, code = compile_text(nvrtc, text, path.name, architecture)
    took = time.monotonic() - begun
    report = needs(log)
    spilling = {k for k, v in report.items() if v[1]}
    warned = any("warning" in line for line in log.splitlines())
    most = max((v[0] for v in report.values()), default=0)
    lines = [
        f"{path.name} {TYPES[types]} {architecture}: {'compiles' if good else 'FAILS'}, "
        f"{len(report)} kernels, {most} registers at most, {len(spilling)} spill, "
        f"{code >> 10} KiB, {took:.1f} s"
    ]
    if not good or warned:
        lines.append(log)
    for kernel, (registers, spilled, stack) in sorted(report.items()):
        if spilled or verbose:
            lines.append(f"  {kernel}: {registers} registers, {spilled} bytes spilled, {stack} of stack")
    return good and not spilling and not warned, "\n".join(lines)


def main() -> int:
    """0 where every file compiles for every architecture and nothing spills."""
    arguments = sys.argv[1:]
    folders = [a for a in arguments if not a.startswith("-")]
    nvrtc = library(folders[0] if folders else None)
    major, minor = ctypes.c_int(), ctypes.c_int()
    nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    work = units()
    failures = 0
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for good, said in pool.map(lambda item: check(nvrtc, *item, "--verbose" in arguments), work):
            failures += not good
            print(said, flush=True)
    print(f"kernels: NVRTC {major.value}.{minor.value}, {len(work)} compiled, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
