"""Ratios of pairs that ran side by side, with a bootstrap interval."""

from __future__ import annotations

import random
import statistics
from dataclasses import dataclass

from rows import Row


@dataclass
class Ratio:
    """torchgate over its peer; above 1 torchgate is better."""

    median: float
    low: float
    high: float


def ratio(row: Row, ours: list[float], theirs: list[float], draws: int = 10_000) -> Ratio:
    """Median of the pairs' ratios, and its 95 % interval from resampled pairs (fixed seed)."""
    values = [a / b if row.better == "more" else b / a for a, b in zip(ours, theirs, strict=True)]
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(draws))
    return Ratio(statistics.median(values), medians[int(draws * 0.025)], medians[int(draws * 0.975) - 1])


def order(pairs: int) -> list[tuple[int, int]]:
    """ABBA: who goes first alternates, so that a machine that slows down favours neither."""
    return [(0, 1) if pair % 2 == 0 else (1, 0) for pair in range(pairs)]
