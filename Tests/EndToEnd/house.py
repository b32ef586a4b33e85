"""Starts a whole Torchgate (nginx, server, engine) in a folder of its own, as `make run DETACH=1` does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BIN = ROOT / ".build" / "release"
FIXTURES = ROOT / "Tests" / "Fixtures"
SMOL = "SmolLM2-135M-Instruct"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class House:
    """One running instance."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    model: str = SMOL
    models_dir: str = ""
    https: int = 0
    http: int = 0
    values: dict[str, str] = field(default_factory=dict)

    def start(self) -> House:
        self.https = self.https or free_port()
        self.http = self.http or free_port()
        environment = {
            **os.environ,
            "RUN_DIR": str(self.folder),
            "HTTPS_PORT": str(self.https),
            "HTTP_PORT": str(self.http),
            "MODEL": self.model,
            "MODELS_DIR": self.models_dir,
            "DETACH": "1",
            **{f"TORCHGATE_{name}": value for name, value in self.settings.items()},
        }
        done = subprocess.run(
            [str(ROOT / "scripts" / "run.sh")], env=environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        lines = (self.folder / "env").read_text().splitlines()
        self.values = dict(line.split("=", 1) for line in lines)
        return self

    def stop(self) -> None:
        subprocess.run(
            [str(ROOT / "scripts" / "stop.sh")],
            env={**os.environ, "RUN_DIR": str(self.folder)},
            capture_output=True,
            timeout=90,
        )

    @property
    def base(self) -> str:
        return self.values["BASE_URL"]

    @property
    def key(self) -> str:
        return self.values["API_KEY"]

    @property
    def ca(self) -> str:
        return self.values["CA_FILE"]

    @property
    def log(self) -> str:
        return (self.folder / "torchgate.log").read_text(errors="replace")

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)

    def keys(self, *words: str) -> str:
        state = str(self.folder / "state")
        done = subprocess.run(
            [str(BIN / "torchgate"), "keys", *words, "--state-dir", state],
            capture_output=True,
            text=True,
            timeout=20,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def new_key(self, *words: str) -> dict[str, str]:
        made: dict[str, str] = json.loads(self.keys("create", "--name", "test", "--json", *words))
        time.sleep(0.1)  # within which a running server knows it
        return made

    def call(
        self,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
        timeout: float = 120,
    ) -> Answer:
        """One request with urllib; `key=""` sends no credential."""
        data = raw if raw is not None else (None if body is None else json.dumps(body).encode())
        request = urllib.request.Request(self.base + path, data=data, method=method)
        key = self.key if key is None else key
        if key:
            request.add_header("Authorization", f"Bearer {key}")
        if data is not None:
            request.add_header("Content-Type", "application/json")
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            reply = urllib.request.urlopen(request, timeout=timeout, context=self.context())
        except urllib.error.HTTPError as error:
            reply = error
        with reply:
            return Answer(reply.status, {k.lower(): v for k, v in reply.headers.items()}, reply.read())

    def chat(self, content: str, **fields: Any) -> Answer:
        key = fields.pop("key", None)
        body = {"messages": [{"role": "user", "content": content}], "temperature": 0, **fields}
        return self.call("/v1/chat/completions", body, key=key)

    def status(self) -> dict[str, Any]:
        return self.call("/status").json

    def server_pid(self) -> int:
        return child_named(int((self.folder / "torchgate.pid").read_text()), "torchgate")

    def engine_pids(self) -> list[int]:
        """Engines whose socket lies in this folder."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if "engine" in Path(words[0]).name and any(str(self.folder) in word for word in words):
                found.append(int(entry.name))
        return found

    def kill_engine(self) -> None:
        for pid in self.engine_pids():
            os.kill(pid, signal.SIGKILL)


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}, error
        return error

    @property
    def text(self) -> str:
        choice = self.json["choices"][0]
        return str(choice["message"]["content"] if "message" in choice else choice["text"])


def child_named(parent: int, name: str) -> int:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = (entry / "status").read_text()
            program = os.readlink(entry / "exe")
        except OSError:
            continue
        if f"\nPPid:\t{parent}\n" in status and Path(program).name == name:
            return int(entry.name)
    raise AssertionError(f"no child {name} of {parent}")


def wait_for(what: str, seconds: float, test: Any) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = test()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what}")


def fixture_models(folder: Path) -> Path:
    """A models folder with the tiny checkpoints."""
    models = folder / "models"
    models.mkdir()
    for source in sorted((FIXTURES / "models").iterdir()):
        if (source / "config.json").exists():
            (models / source.name).symlink_to(source)
    return models


def scratch() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="torchgate-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def sse_events(lines: Iterator[bytes]) -> Iterator[tuple[str | None, str]]:
    """(id, data) of each event."""
    event_id: str | None = None
    data: list[str] = []
    for raw in lines:
        line = raw.decode().rstrip("\r\n")
        if not line:
            if data:
                yield event_id, "\n".join(data)
            event_id, data = None, []
        elif line.startswith("id: "):
            event_id = line[4:]
        elif line.startswith("data: "):
            data.append(line[6:])
