"""Something that is not for everybody's eyes: -object secret, from a file or the command line."""

from __future__ import annotations

import base64
import binascii

from pcemu.qom import PcemuError, Property
from pcemu.qom.object import UserObject

MOST = 1 << 20


class Secret(UserObject):
    """Other objects and disks may refer to it by its id; `value` is what it is."""

    type_name = "secret"

    data = Property(str, label="string", help="the secret itself")
    file = Property(str, label="string", help="... or the file that it is in")
    format = Property(default="raw", choices=("raw", "base64"), help="how it is written there")
    keyid = Property(str, label="string", help="the secret that it is encrypted with; not implemented yet")
    iv = Property(str, label="string", help="... and the initialization vector")

    def complete(self) -> None:
        if self.keyid or self.iv:
            raise PcemuError("keyid and iv (encrypted secrets): not implemented yet")
        if self.data is None and self.file is None:
            raise PcemuError("Must provide 'file' or 'data' property")
        if self.data is not None and self.file is not None:
            raise PcemuError("'file' and 'data' are mutually exclusive")
        if self.file is not None:
            try:
                with open(self.file, "rb") as stream:
                    value = stream.read(MOST + 1)
            except OSError as error:
                raise PcemuError(f"Unable to read {self.file}: {error.strerror}") from None
            if len(value) > MOST:
                raise PcemuError(f"{self.file}: a secret has at most {MOST} bytes")
        else:
            value = self.data.encode()
        if self.format == "base64":
            try:
                value = base64.b64decode(b"".join(value.split()), validate=True)
            except binascii.Error:
                raise PcemuError("the secret is not base64") from None
        self.value = value
        self.data = None        # nor shown by qom-get
