"""ACPI tables, generated from the machine as it was built."""

from __future__ import annotations

from .linker import ZONE_FSEG, ZONE_HIGH, LinkedFiles
from .tables import RSDP_FILE, TABLES_FILE, build

__all__ = ["RSDP_FILE", "TABLES_FILE", "ZONE_FSEG", "ZONE_HIGH", "LinkedFiles", "build"]
