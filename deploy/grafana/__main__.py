"""`python -m deploy.grafana`: write the dashboards' JSON; with `--check` say which are not as the code makes them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from deploy.grafana.panels import written
from deploy.grafana.programme import programme
from deploy.grafana.throughput import throughput
from deploy.grafana.venue import venue

FOLDER: Final = Path(__file__).parent / "dashboards"


def dashboards() -> dict[str, str]:
    """The JSON of every dashboard, by the name of its file."""
    return {
        "throughput.json": written(throughput()),
        "programme.json": written(programme()),
        "venue.json": written(venue()),
    }


def stale() -> list[str]:
    """Files of deploy/grafana/dashboards that are not what the code makes."""
    made = dashboards()
    there = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.json")}
    return sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))


def main() -> int:
    """Write or compare."""
    if sys.argv[1:] == ["--check"]:
        for name in (found := stale()):
            print(f"deploy/grafana/dashboards/{name} is stale: python -m deploy.grafana")
        return int(bool(found))
    FOLDER.mkdir(exist_ok=True)
    for name, text in dashboards().items():
        (FOLDER / name).write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
