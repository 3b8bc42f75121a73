"""-object secret, and -audiodev none: what managers always give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pcemu.cli.parser import parse
from pcemu.qom.errors import PcemuError
from pcemu.qom.object import add_object
from pcemu.testing.harness import TestMachine


def secret(**props: str) -> Any:
    return add_object(TestMachine(isa=False), {"qom-type": "secret", "id": "s", **props})


def test_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"\0\1\2")
    assert secret(file=str(path)).value == b"\0\1\2"
    made = secret(data="aGVs bG8=", format="base64")
    assert made.value == b"hello" and made.data is None
    for props, text in (
        ({}, "Must provide"), ({"data": "a", "file": "b"}, "mutually exclusive"), ({"file": "/nowhere/x"}, "Unable to read"),
        ({"data": "?", "format": "base64"}, "not base64"), ({"data": "a", "keyid": "k"}, "not implemented yet"),
    ):  # fmt: skip
        with pytest.raises(PcemuError, match=text):
            secret(**props)


def test_no_sound() -> None:
    parse(["-machine", "none", "-display", "none", "-audiodev", '{"id":"audio1","driver":"none"}', "-audiodev", "none,id=a"])
    with pytest.raises(PcemuError, match="driver 'pa': not implemented yet"):
        parse(["-audiodev", "pa,id=a"])
    with pytest.raises(PcemuError, match="Parameter 'id' is missing"):
        parse(["-audiodev", "none"])
