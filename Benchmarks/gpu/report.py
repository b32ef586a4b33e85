"""Rows as they come: printed, and written to the JSON file and the table again after each."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Row:
    """One line: what was measured, ours beside theirs, and whether a floor held."""

    part: str
    name: str
    ours: str = ""
    theirs: str = ""
    roofline: str = ""
    floor: str = ""
    # None: there is no floor here.
    held: bool | None = None
    more: dict[str, Any] = field(default_factory=dict)


class Report:
    """All rows so far."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.facts = facts
        self.rows: list[Row] = []

    def add(self, row: Row) -> None:
        self.rows.append(row)
        print(self._line(row), flush=True)
        self.write()

    def failed(self, part: str, name: str, reason: str, counts: bool) -> None:
        """A part without a number; `counts`: that it has none is a failure of the whole."""
        self.add(Row(part, name, ours=f"– ({reason})", held=False if counts else None))

    @property
    def misses(self) -> list[Row]:
        return [row for row in self.rows if row.held is False]

    def write(self) -> None:
        document = {**self.facts, "rows": [asdict(row) for row in self.rows]}
        partial = self.folder / "gpu-check.json.part"
        partial.write_text(json.dumps(document, indent=1) + "\n")
        partial.replace(self.folder / "gpu-check.json")
        (self.folder / "gpu-check.md").write_text(self.table())

    def table(self) -> str:
        head = ["part", "what", "torchgate", "transformers", "of the roofline", "floor", ""]
        lines = [" | ".join(["", *head, ""]).strip(), "|" + "---|" * len(head)]
        for row in self.rows:
            cells = [row.part, row.name, row.ours, row.theirs, row.roofline, row.floor, mark(row)]
            lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
        notes = [f"- {key}: {value}" for key, value in self.facts.items() if not isinstance(value, dict)]
        return "\n".join([*notes, "", *lines, ""])

    @staticmethod
    def _line(row: Row) -> str:
        end = f"  {row.roofline}  {row.floor}".rstrip()
        theirs = f"  transformers {row.theirs}" if row.theirs else ""
        return f"{mark(row):6} {row.part:8} {row.name:34} {row.ours}{theirs}{end}"


def mark(row: Row) -> str:
    return {True: "held", False: "MISSED", None: ""}[row.held]
