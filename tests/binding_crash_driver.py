"""A gateway that is killed while it binds browsers: run by tests/test_identity.py.

Reads `CODE TOKEN` lines from standard input and redeems each; prints what it has answered. With the argument `between`
it kills itself when the identity service has answered and before the binding is written.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from gateway.bindings import Bindings
from gateway.register import Register


def main(folder: Path, between: bool) -> None:
    """Redeem what comes."""
    with Register(folder / "register") as register, Bindings(folder / "bindings.sqlite") as bindings:
        if between:

            def die(row: object) -> None:
                os.kill(os.getpid(), signal.SIGKILL)

            bindings._bind = die  # type: ignore[method-assign,assignment]
        for number, line in enumerate(sys.stdin):
            code, token = line.split()
            print(token, bindings.redeem(register, code, token, f"source {number}", 1000), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] == ["between"])
