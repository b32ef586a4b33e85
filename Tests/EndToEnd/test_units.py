"""systemd's own opinion of the units: no mistakes, and little exposure."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from house import ROOT

# Tenths of systemd's score. nginx faces the net and starts as root, so it cannot be as closed.
LIMITS = {"torchgate.service": 20, "torchgate-engine@1.service": 20, "torchgate-nginx.service": 30}

pytestmark = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed"
)


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units as installed, with programs that exist."""
    folder = tmp_path_factory.mktemp("units")
    programs = folder / "bin"
    programs.mkdir()
    for name in ("torchgate", "torchgate-engine"):
        (programs / name).symlink_to("/bin/true")
    for source in (ROOT / "systemd").iterdir():
        if source.suffix in (".service", ".socket"):
            text = source.read_text().replace("@PREFIX@", str(folder)).replace("/usr/sbin/nginx", "/bin/true")
            (folder / source.name).write_text(text)
            if "@." in source.name:
                (folder / source.name.replace("@.", "@1.")).write_text(text)
    return folder


def analyze(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *words], capture_output=True, text=True, timeout=60, check=False
    )


def test_the_units_have_no_mistakes(units: Path) -> None:
    files = [str(path) for path in sorted(units.iterdir()) if path.is_file() and "@." not in path.name]
    done = analyze("verify", "--man=no", *files)
    ours = [line for line in done.stderr.splitlines() if "torchgate" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.parametrize(("service", "limit"), LIMITS.items())
def test_a_service_is_little_exposed(units: Path, service: str, limit: int) -> None:
    words = ["--offline=yes", f"--threshold={limit}", "--no-pager", str(units / service)]
    done = analyze("security", *words)
    assert done.returncode == 0, done.stdout.splitlines()[-1]
