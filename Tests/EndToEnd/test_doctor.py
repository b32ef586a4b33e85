"""`torchgate doctor` on a running instance, and on the same one with something broken."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from house import BIN, House


def doctor(house: House, *words: str, **settings: str) -> tuple[int, str]:
    """Exit status and output, with the settings that the house runs with."""
    folder = house.folder
    own = {
        "PATHS_STATE_DIR": folder / "state",
        "PATHS_RUN_DIR": folder,
        "SERVER_MODE": "development",
        "SERVER_HOST": "127.0.0.1",
        "SERVER_PORT": house.https,
        "SERVER_HTTP_PORT": house.http,
        "SERVER_CERTIFICATE": folder / "tls" / "cert.pem",
        "SERVER_CERTIFICATE_KEY": folder / "tls" / "key.pem",
        "MODELS_DIRECTORIES": house.models_dir,
        "MODELS_DEFAULT": house.model,
        "ENGINE_DEVICE": "cpu",
        **house.settings,
        **settings,
    }
    environment = {**os.environ, **{f"TORCHGATE_{name}": str(value) for name, value in own.items()}}
    done = subprocess.run(
        [str(BIN / "torchgate"), "doctor", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def findings(house: House, **settings: str) -> dict[str, dict[str, Any]]:
    status, text = doctor(house, "--json", **settings)
    report = json.loads(text)
    assert report["ok"] == (status == 0)
    return {finding["name"]: finding for finding in report["findings"]}


def failures(house: House, **settings: str) -> dict[str, str]:
    """The mends of what failed, by name."""
    found = findings(house, **settings).values()
    return {finding["name"]: finding["mend"] for finding in found if finding["result"] == "failure"}


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)


def test_a_running_house_is_healthy(tiny: House) -> None:
    status, text = doctor(tiny)
    assert status == 0, text
    assert " 0 failures" in text.splitlines()[-1]
    found = findings(tiny)
    assert "held by a live server" in found["server socket"]["found"]
    for name in ("HTTPS port", "HTTP port"):
        assert "this server's nginx" in found[name]["found"]
    assert {finding["result"] for finding in found.values()} <= {"ok", "warning", "skipped"}


def test_it_leaves_the_house_as_it_was(tiny: House) -> None:
    assert tiny.chat("Hello", max_tokens=2).status == 200
    engines = tiny.engine_pids()
    before = sorted(str(path) for path in tiny.folder.rglob("*"))
    assert doctor(tiny)[0] == 0
    assert sorted(str(path) for path in tiny.folder.rglob("*")) == before
    assert tiny.engine_pids() == engines
    assert tiny.chat("Hello", max_tokens=2).status == 200


def test_it_says_no_secret(tiny: House) -> None:
    pepper = (tiny.folder / "state" / "pepper").read_text().split(":")[1].strip()
    for words in ((), ("--json",)):
        text = doctor(tiny, *words)[1]
        assert tiny.key not in text
        assert pepper not in text


@pytest.mark.parametrize(
    ("setting", "value", "name", "mend"),
    [
        ("SERVER_PORT", "many", "settings", "docs/configuration.md"),
        ("MODELS_DEFAULT", "absent", "default model", "models.directories"),
        ("MODELS_DIRECTORIES", "/var/empty/no-models", "models", "models.directories"),
        ("ENGINE_EXECUTABLE", "/nowhere/engine", "engine", "engine.executable"),
        ("SERVER_CERTIFICATE", "/nowhere/cert.pem", "certificate", "server.certificate"),
        ("SERVER_HOST", "192.0.2.1", "HTTPS port", "server.host"),
        ("SERVER_SOCKET", f"/tmp/{'s' * 120}", "server socket", "server.socket"),
        ("NGINX_USER", "nobody-of-that-name", "nginx configuration", "nginx.*"),
        ("PATHS_STATE_DIR", "/nowhere/state", "keys", "torchgate keys create"),
    ],
)
def test_a_wrong_setting_is_a_failure_with_its_mend(
    tiny: House, setting: str, value: str, name: str, mend: str
) -> None:
    found = failures(tiny, **{setting: value})
    assert mend in found[name], found


def test_an_unknown_setting_is_named(tiny: House) -> None:
    status, text = doctor(tiny, "--set", "server.prot=8443")
    assert status == 1
    assert "server.prot" in text


def test_files_open_to_others_are_failures(tiny: House) -> None:
    state = tiny.folder / "state"
    for path, name in ((state / "pepper", "pepper"), (state / "keys" / "keys.db", "keys")):
        with mode(path, 0o644):
            found = failures(tiny)
        assert found[name].startswith("chmod") and str(path) in found[name]
    with mode(tiny.folder / "tls" / "key.pem", 0o644):
        assert "chmod 600" in failures(tiny)["certificate key"]
    assert failures(tiny) == {}


def test_a_port_of_another_s_is_named(tiny: House, new_house: Callable[..., House]) -> None:
    other = new_house(model=tiny.model, models_dir=tiny.models_dir)
    found = findings(tiny, SERVER_PORT=str(other.https))["HTTPS port"]
    assert found["result"] == "failure"
    assert "nginx" in found["found"]
    assert "server.port" in found["mend"]


def test_a_model_that_cannot_be_read_is_a_failure(tiny: House, tmp_path: Path) -> None:
    broken = tmp_path / "models" / "broken"
    broken.mkdir(parents=True)
    for name, text in (("config.json", "{"), ("model.safetensors", "")):
        (broken / name).write_text(text)
    found = failures(tiny, MODELS_DIRECTORIES=str(broken.parent), MODELS_DEFAULT="broken")
    assert "config.json" in found["default model"]
