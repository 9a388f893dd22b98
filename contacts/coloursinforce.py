"""Which colour rules are in force: those that were published last under the deployment's name, else those of its
files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import xxhash

from contacts.colourrules import DEFAULT_RULES, ColourRules, colour_rules_text, read_colour_rules
from contacts.colours import ColourRulesError
from contacts.vaccines import VaccinesError, load_vaccines


class ColoursInForce:
    """The rules named `rules_id`; files are looked for in `folder` first. Raises ColourRulesError."""

    def __init__(self, rules_id: str = DEFAULT_RULES, folder: Path | None = None) -> None:
        self.rules_id = rules_id
        self._where, self._text = colour_rules_text(rules_id, folder)
        own = None if folder is None else folder / "vaccines.toml"
        self._salt = own.read_bytes() if own is not None and own.exists() else b""
        try:
            self._vaccines = load_vaccines(folder)
        except VaccinesError as error:
            raise ColourRulesError(str(error)) from error
        self({})

    def __call__(self, published: Mapping[str, str]) -> tuple[ColourRules, str]:
        """The rules where these texts were published, by name, and a version that no other rules have."""
        text = published.get(self.rules_id, self._text)
        rules = read_colour_rules(self.rules_id, text, self._where, self._vaccines)
        return rules, xxhash.xxh3_128_hexdigest(self._salt + b"\x1f" + text.encode())

    def check(self, rules_id: str, text: str) -> None:
        """Raises ColourRulesError for a text that cannot be rules."""
        read_colour_rules(rules_id, text, f"published as {rules_id!r}", self._vaccines)
