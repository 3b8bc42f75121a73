"""Option strings: ``first,key=value,flag,path=a,,b`` (two commas stand for one in a value)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pcemu.qom.errors import suggestion
from pcemu.qom.property import PropertyDecl

from .errors import UsageError, at

HELP_WORDS = ("help", "?")


def split(text: str) -> list[tuple[str, str | None]]:
    """Pairs in the order they were written; a bare word has no value."""
    pairs: list[tuple[str, str | None]] = []
    item: list[str] = []
    position, end = 0, len(text)
    while position <= end:
        if position == end or text[position] == ",":
            if text[position + 1 : position + 2] == "," and position < end:
                item.append(",")
                position += 2
                continue
            word = "".join(item)
            if word:
                key, equals, value = word.partition("=")
                pairs.append((key, value) if equals else (word, None))
            item = []
            position += 1
        else:
            item.append(text[position])
            position += 1
    return pairs


def parse(text: str, implied: str | None = None) -> dict[str, str]:
    """``{key: value}``: the first bare word is the value of `implied`, later ones are flags that are on.

    Of a key that is given twice the last value counts.
    """
    result: dict[str, str] = {}
    for index, (key, value) in enumerate(split(text)):
        if value is None:
            if index == 0 and implied is not None:
                result[implied] = key
            else:
                result[key] = "on"
        else:
            result[key] = value
    return result


def wants_help(text: str) -> bool:
    """Is `help` (or `?`) among the words?"""
    return any(value is None and key in HELP_WORDS for key, value in split(text))


def typed(option: str, text: str, given: dict[str, str], declared: Iterable[PropertyDecl],
          ignored: Sequence[str] = ()) -> dict[str, object]:  # fmt: skip
    """Check keys against `declared` and convert their values; ``nokey`` without a value is key=off."""
    known = {decl.name: decl for decl in declared}
    result: dict[str, object] = {}
    for key, value in given.items():
        if key in ignored:
            continue
        decl = known.get(key)
        if decl is None and value == "on" and key.startswith("no"):
            decl = known.get(key[2:])
            if decl is not None and decl.kind == "bool":
                result[decl.name] = False
                continue
            decl = None
        if decl is None:
            raise at(option, text, f"Invalid parameter '{key}'{suggestion(key, known)}")
        try:
            result[decl.name] = decl._convert(value)
        except (ValueError, TypeError):
            raise UsageError(f"-{option} {text}: '{value}' is not what {key} takes: {decl.allowed()}") from None
    return result
