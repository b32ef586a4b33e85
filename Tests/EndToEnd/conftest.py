"""Instances that several tests share; tests that break things start their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from house import House, fixture_models, scratch


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    yield from scratch()


@pytest.fixture(scope="session")
def tiny_models(folder: Path) -> Path:
    return fixture_models(folder)


@pytest.fixture(scope="session")
def smol(folder: Path) -> Iterator[House]:
    """The default model in float32, where tokens do not depend on the batch."""
    house = House(folder / "smol", {"DTYPE": "float32", "ENGINE_SLOTS": "64"})
    house.folder.mkdir()
    yield house.start()
    house.stop()


@pytest.fixture(scope="session")
def tiny(folder: Path, tiny_models: Path) -> Iterator[House]:
    """A tiny random model: quick."""
    house = House(folder / "tiny", {"DTYPE": "float32"}, model="llama-tied", models_dir=str(tiny_models))
    house.folder.mkdir()
    yield house.start()
    house.stop()


@pytest.fixture
def new_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., House]]:
    """Starts instances that end with the test."""
    started: list[House] = []
    folders = []

    def start(settings: dict[str, str] | None = None, **more: str) -> House:
        generator = scratch()
        path = next(generator)
        folders.append(generator)
        house = House(path, settings or {}, **more)  # type: ignore[arg-type]
        started.append(house)
        return house.start()

    yield start
    for house in started:
        house.stop()
    for generator in folders:
        next(generator, None)
