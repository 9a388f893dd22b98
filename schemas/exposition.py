"""What every process tells of itself, and how its metrics are given out: with the label `stage` on each sample.

A process is one stage: a worker's role, or `gateway`. The label is added when Prometheus asks, so that counting costs
nothing more for it.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Gauge, Info
from prometheus_client.metrics_core import Metric

BUILD: Final = Info("lacak_build", "What runs here: the versions of Lacak and of Python.")
DISK_FREE: Final = Gauge("lacak_disk_free_bytes", "Bytes free on the disk of the data folder.")
DISK_SIZE: Final = Gauge("lacak_disk_size_bytes", "Size of the disk of the data folder.")

PROCESSES: Final = (BUILD, DISK_FREE, DISK_SIZE)
"""What every process tells; prometheus_client adds `process_...` and `python_...`."""


class Exposition(CollectorRegistry):
    """The metrics of this process as they are given out."""

    def __init__(self, stage: str, data_folder: Path, registry: CollectorRegistry = REGISTRY) -> None:
        super().__init__(auto_describe=False)
        self._stage = stage
        self._registry = registry
        try:
            own = version("lacak")
        except PackageNotFoundError:  # run from the source tree
            own = "unknown"
        BUILD.info({"version": own, "python": platform.python_version()})
        DISK_FREE.set_function(lambda: float(_disk(data_folder)[2]))
        DISK_SIZE.set_function(lambda: float(_disk(data_folder)[0]))

    def collect(self) -> Iterator[Metric]:
        """Every metric, its samples labelled with the stage."""
        for family in self._registry.collect():
            family.samples = [
                sample._replace(labels={"stage": self._stage, **sample.labels}) for sample in family.samples
            ]
            yield family


def _disk(folder: Path) -> tuple[int, int, int]:
    """Size, used and free bytes of the disk that holds a folder, or that of its nearest parent that is there."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder)
