"""The one exception a loader raises."""

from __future__ import annotations

from pcemu.qom.errors import PcemuError


class LoaderError(PcemuError, ValueError):
    """An image or a table that cannot be used. The text is one line that names the option and the file."""

    def __init__(self, option: str, file: object, reason: str) -> None:
        super().__init__(f"{option} {file}: {reason}" if file else f"{option}: {reason}")
        self.option = option
        self.file = file
        self.reason = reason
