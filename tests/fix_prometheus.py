"""Tests that need Debian's Prometheus: left out where it is not, unless LACAK_TEST_PROMETHEUS=required."""

from __future__ import annotations

import os
import shutil

import pytest

needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool"))
    and os.environ.get("LACAK_TEST_PROMETHEUS") != "required",
    reason="no Prometheus is installed (Debian, Ubuntu: apt install prometheus)",
)
