"""Character devices: streams of bytes between the machine and the host (see base.py for the model)."""

from __future__ import annotations

from .base import Chardev, ChardevError
from .mux import MuxChardev
from .options import backend_names, create, from_spec, help_text, parse_spec

__all__ = ["Chardev", "ChardevError", "MuxChardev", "backend_names", "create", "from_spec", "help_text", "parse_spec"]
