"""Which colour rules are in force: those that were published last under the deployment's name, else those of its
files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from zoneinfo import ZoneInfo

import xxhash

from contacts.colourrules import DEFAULT_RULES, ColourRules, colour_rules_text, read_colour_rules
from contacts.colours import ColourRulesError
from contacts.vaccines import VaccinesError, load_vaccines


def possible_from_risk(rules: ColourRules, at_ms: int, zone: ZoneInfo) -> float | None:
    """From which risk the rules in force at a time count a possible contact; None: they count none."""
    in_force = rules.in_force(at_ms, zone)
    contact = None if in_force is None else in_force.table.contact
    return None if contact is None else contact.possible_from_risk


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
        self._of_files = self.read(self._text)

    def __call__(self, published: Mapping[str, str]) -> tuple[ColourRules, str]:
        """The rules where these texts were published, by name, and a version that no other rules have."""
        text = published.get(self.rules_id)
        return self._of_files if text is None else self.read(text)

    def read(self, text: str) -> tuple[ColourRules, str]:
        """The rules of a text, and their version. Raises ColourRulesError."""
        rules = read_colour_rules(self.rules_id, text, self._where, self._vaccines)
        return rules, xxhash.xxh3_128_hexdigest(self._salt + b"\x1f" + text.encode())

    def check(self, rules_id: str, text: str) -> None:
        """Raises ColourRulesError for a text that cannot be rules."""
        read_colour_rules(rules_id, text, f"published as {rules_id!r}", self._vaccines)
