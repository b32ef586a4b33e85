"""The machine under test: where libtorch lies, how programs are run, what the GPU's memory holds."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# Between what a program said and its output, in its log.
SEPARATOR = "\n--- output\n"


class Failure(Exception):
    """A part could not be measured; the text says why."""


class TimedOut(Failure):
    """A program was ended; what it had printed is kept."""

    def __init__(self, limit: float, output: str) -> None:
        super().__init__(f"took longer than {limit:.0f} s")
        self.output = output


def findings(text: str) -> list[dict[str, Any]]:
    """The lines that are whole JSON objects."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]


@dataclass
class Machine:
    """What all parts share."""

    engine: Path
    # As the engine calls it; and as torch does.
    device: str
    torch_device: str
    tiny: bool
    python: str
    libtorch: Path | None
    deadline: float
    logs: Path
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def left(self) -> float:
        return self.deadline - time.monotonic()

    def environment(self) -> dict[str, str]:
        """As the server starts engines; TF32 stays off, so that float32 is float32."""
        variables = {**os.environ, "OMP_WAIT_POLICY": "passive", "NVIDIA_TF32_OVERRIDE": "0"}
        variables.setdefault("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))
        # Kernels are compiled once a run, whatever the machine has for a home.
        variables["CACHE_DIRECTORY"] = str(self.logs.parent / "cache")
        variables["TORCHGATE_COMPAT_QWEN2_5_VL_VIDEO_POSITIONS"] = "hf517"
        if self.libtorch:
            # CUDA's own libraries lie beside torch, as their packages are installed.
            beside = sorted(self.libtorch.parents[1].glob("nvidia/*/lib"))
            older = variables.get("LD_LIBRARY_PATH", "")
            folders = [*map(str, [self.libtorch, *beside]), *older.split(":")]
            variables["LD_LIBRARY_PATH"] = ":".join(folder for folder in folders if folder)
        return variables

    def run(self, words: list[str], limit: float, name: str, prefix: tuple[str, ...] = ()) -> str:
        """Runs the engine and answers what it prints; its whole output is kept in the logs' folder."""
        return self._run([*prefix, str(self.engine), *words], limit, name, self.environment())

    def reference(self, words: list[str], limit: float, name: str) -> list[dict[str, Any]]:
        """Runs `peer.py`, a process of its own: its findings, or those before its time was over."""
        try:
            out = self._run([self.python, str(HERE / "peer.py"), *words], limit, name, self.plain())
        except TimedOut as error:
            out = error.output
            if not findings(out):
                raise
        found = findings(out)
        if not found:
            raise Failure("no result")
        return found

    def plain(self) -> dict[str, str]:
        """For the peer: nothing is set that its users would not have set."""
        scripts = HERE.parents[1] / "scripts"
        path = f"{scripts}:{os.environ.get('PYTHONPATH', '')}".rstrip(":")
        return {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}

    def _run(self, words: list[str], limit: float, name: str, environment: dict[str, str]) -> str:
        limit = min(limit, self.left)
        if limit < 1:
            raise Failure("no time left")
        log = self.logs / f"{name.replace(' ', '-')}.log"
        with log.open("wb") as errors:
            child = subprocess.Popen(
                words, env=environment, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
            try:
                out, _ = child.communicate(timeout=limit)
                late = False
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                out, _ = child.communicate()
                late = True
            errors.write(SEPARATOR.encode() + out)
        if late:
            raise TimedOut(limit, out.decode(errors="replace"))
        if child.returncode not in (0, 2):
            said = log.read_text(errors="replace").split(SEPARATOR)[0]
            lines = [line for line in said.splitlines() if line.strip()]
            named = [x for x in lines if "rror" in x or x.startswith("torchgate-engine")]
            reason = (named or lines or ["no message"])[-1].strip()
            raise Failure(f"exit status {child.returncode}: {reason[-300:]}")
        return out.decode(errors="replace")

    def settled(self, most: int | None) -> int | None:
        """`memory`, given some seconds to come down to `most`: a process that ended is not gone at once."""
        found = self.memory()
        for _ in range(6):
            if found is None or most is None or found <= most:
                break
            time.sleep(0.5)
            found = self.memory()
        return found

    def memory(self) -> int | None:
        """MiB of the GPU that are in use by anyone; None on the CPU."""
        if self.torch_device == "cpu":
            return None
        words = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
        try:
            answer = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True)
            return int(answer.stdout.split()[0])
        except (OSError, subprocess.SubprocessError, ValueError, IndexError):
            return None


def describe(machine: Machine) -> dict[str, Any]:
    """Names of the parts, for the table's head."""
    facts: dict[str, Any] = {"date": time.strftime("%Y-%m-%d"), "python": platform.python_version()}
    facts["kernel"] = platform.release()
    facts["processors"] = len(os.sched_getaffinity(0))
    cpu = Path("/proc/cpuinfo").read_text().split("model name")[1:2]
    facts["cpu"] = cpu[0].split(":", 1)[1].splitlines()[0].strip() if cpu else platform.machine()
    if machine.torch_device != "cpu":
        words = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        try:
            answer = subprocess.run(words, capture_output=True, text=True, timeout=20, check=True)
            facts["gpu"] = answer.stdout.strip().splitlines()[0]
        except (OSError, subprocess.SubprocessError, IndexError):
            facts["gpu"] = "unknown: nvidia-smi does not answer"
    return facts


def find_libtorch(python: str) -> tuple[Path | None, str]:
    """The libraries of that Python's torch, without importing it; and its version."""
    script = (
        "import importlib.util as u, importlib.metadata as m;"
        "print(u.find_spec('torch').submodule_search_locations[0], m.version('torch'))"
    )
    answer = subprocess.run([python, "-c", script], capture_output=True, text=True)
    if answer.returncode != 0:
        return None, "none"
    folder, version = answer.stdout.rsplit(maxsplit=1)
    return Path(folder.strip()) / "lib", version


def warn(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
