"""The examples, as a reader of the README would run them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from house import ROOT, House

EXAMPLES = sorted(path for path in (ROOT / "examples").iterdir() if path.suffix in (".sh", ".py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_answers_the_question(path: os.PathLike[str], smol: House) -> None:
    words = [sys.executable, str(path)] if str(path).endswith(".py") else [str(path)]
    done = subprocess.run(
        [*words, "What is the capital of France?"],
        env={**os.environ, **smol.values},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_takes_any_text(path: os.PathLike[str], smol: House) -> None:
    words = [sys.executable, str(path)] if str(path).endswith(".py") else [str(path)]
    done = subprocess.run(
        [*words, 'Say "a\\b" and\n\'$HOME\'\tü.'],
        env={**os.environ, **smol.values},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
