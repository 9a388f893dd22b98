"""Messages spoiled in ways that no decoder may take, whatever the topic: their bytes, their shape, their numbers."""

from __future__ import annotations

import random
from typing import Any, Final

import msgspec

_TEXT, _NUMBER = "\u2063text\u2063", "\u2063number\u2063"
_NUMBERS: Final = (
    b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", str(2**70).encode(), str(-(2**70)).encode(), b"1.5",
    b"0x10", b"1_000", b"01", b"--1", b"1e", b"9" * 5000, b"null", b"true", b'"12"', b"[]", b"\xd9\xa1\xd9\xa2",
)  # fmt: skip
_TEXTS: Final = (
    b'"\xff\xfe"', b'"\xc3\x28"', b'"\xed\xa0\x80"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u12"', b'"\\x41"',
    b'"open', b"12", b"[]", b"{}", b"null", b"true", b"'p'", b'"\xf8\x88\x80\x80\x80"',
)  # fmt: skip
_DEEP: Final = (1_200, 5_000, 40_000)
_HUGE: Final = (50_000, 400_000, 2_000_000)


class Spoiler:
    """Spoils good messages of a topic. `text` and `number` are a field of each that must be there.

    Without `listed` a list of good ones is good; `lax` takes numbers in quotes.
    """

    def __init__(
        self, samples: list[dict[str, Any]], text: str, number: str, *, listed: bool = True, lax: bool = False
    ) -> None:
        self._text, self._number = text, number
        self._listed = listed
        self._numbers = [each for each in _NUMBERS if not lax or each != b'"12"']
        self._samples = [msgspec.json.encode(sample) for sample in samples]
        self._holed = [
            (
                msgspec.json.encode({**sample, text: _TEXT}).split(msgspec.json.encode(_TEXT)),
                msgspec.json.encode({**sample, number: _NUMBER}).split(msgspec.json.encode(_NUMBER)),
                msgspec.json.encode({name: value for name, value in sample.items() if name != text}),
            )
            for sample in samples
        ]

    def spoil(self, dice: random.Random) -> tuple[str, bytes]:
        """A kind of fault, and a message with it."""
        kind = dice.choice(KINDS)
        place = dice.randrange(len(self._samples))
        good, (text, number, without) = self._samples[place], self._holed[place]
        match kind:
            case "random bytes":
                return kind, bytes([dice.choice(b"\x00\x01\x80\xff\xfe\x93LK0aG(")]) + dice.randbytes(
                    dice.randrange(200)
                )
            case "cut short":
                return kind, good[: dice.randrange(len(good))]
            case "altered":
                flip = dice.randrange(1, 256)
                return kind, bytes([good[0] ^ flip]) + good[1:]
            case "more behind it":
                return kind, good + dice.choice((b"}", b"x", good, b",", b"\x00"))
            case "field missing":
                return kind, without
            case "wrong unicode":
                return kind, dice.choice(_TEXTS).join(text)
            case "number out of range":
                return kind, dice.choice(self._numbers).join(number)
            case "same field twice":
                return kind, good[:-1] + b',"%s":%s}' % (
                    self._number.encode(),
                    dice.choice((b"[]", b"{}", b'"x"', b"1e400")),
                )
            case "nested deep":
                return kind, _deep(good, text, dice)
            case "other encoding":
                return kind, dice.choice(
                    (b"\xef\xbb\xbf" + good, good.decode().encode("utf-16"), good.decode().encode("utf-32"))
                )
            case "not an object":
                listed = b"[%s]" % good if self._listed else b"[1]"
                return kind, dice.choice((b"[1,2]", b"null", b"true", b"0", b'""', listed, b"{}", b" ", b""))
        return "huge", _huge(text, dice)


def _deep(good: bytes, text: list[bytes], dice: random.Random) -> bytes:
    """Nested in a field that is read, or in one that nobody reads."""
    depth = dice.choices(_DEEP, (90, 9, 1))[0]
    opened, closed = dice.choice(((b"[", b"]"), (b'{"a":', b"}")))
    nested = opened * depth + (b"1" if opened != b"[" else b"") + (closed * depth if dice.random() < 0.5 else b"")
    if dice.random() < 0.5:
        return good[:-1] + b',"unknown":' + nested + b"}"
    return nested.join(text)


def _huge(text: list[bytes], dice: random.Random) -> bytes:
    """Large, and of the wrong type; mostly not so very large, so that a million of them stay within reason."""
    size = dice.choices((500, *_HUGE), (9_700, 270, 28, 2))[0]
    return dice.choice((b"[" + b"1," * (size // 2) + b"1]", b"[" + b'"",' * (size // 3) + b'""]')).join(text)


KINDS: Final = (
    "random bytes", "cut short", "altered", "more behind it", "field missing", "wrong unicode", "number out of range",
    "same field twice", "nested deep", "other encoding", "not an object", "huge",
)  # fmt: skip
