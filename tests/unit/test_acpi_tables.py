"""ACPI tables: structure, contents by machine, and what ACPICA's compiler says to them."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from pcemu.loader import acpi
from pcemu.loader.platform import Platform, SerialPort

IASL = shutil.which("iasl")
FULL = Platform(
    low_ram=256 << 20,
    serial_ports=(SerialPort(1, 0x3F8, 4), SerialPort(2, 0x2F8, 3)),
    gpe0=(0xAFE0, 4),
)
RSDP_AT, TABLES_AT = 0xF1000, 0x0FFE0000


def tables(platform: Platform) -> dict[str, bytes]:
    """Every table by signature, found by following the pointers from the RSDP like a system does."""
    images = acpi.build(platform).link(lambda name, size, align, zone: RSDP_AT if zone == acpi.ZONE_FSEG else TABLES_AT)
    memory = dict(images)

    def at(address: int) -> bytes:
        blob = memory[TABLES_AT][address - TABLES_AT :]
        return blob[: struct.unpack_from("<I", blob, 4)[0]]

    rsdp = memory[RSDP_AT]
    assert rsdp[:8] == b"RSD PTR " and rsdp[15] == 2
    assert sum(rsdp[:20]) & 0xFF == 0 and sum(rsdp) & 0xFF == 0 and len(rsdp) == 36
    rsdt_at, length, xsdt_at = struct.unpack_from("<IIQ", rsdp, 16)
    assert length == 36
    found = {"RSDT": at(rsdt_at), "XSDT": at(xsdt_at)}
    narrow = struct.unpack(f"<{(len(found['RSDT']) - 36) // 4}I", found["RSDT"][36:])
    wide = struct.unpack(f"<{(len(found['XSDT']) - 36) // 8}Q", found["XSDT"][36:])
    assert narrow == wide
    for address in wide:
        table = at(address)
        assert address % 16 == 0
        found[table[:4].decode()] = table
    if "FACP" in found:
        facs_at, dsdt_at = struct.unpack_from("<II", found["FACP"], 36)
        assert facs_at % 64 == 0
        assert struct.unpack_from("<Q", found["FACP"], 140)[0] == dsdt_at
        found["FACS"], found["DSDT"] = at(facs_at), at(dsdt_at)
    return found


def test_all_tables_are_there_with_right_checksums() -> None:
    found = tables(FULL)
    assert set(found) == {"RSDT", "XSDT", "FACP", "FACS", "DSDT", "APIC", "HPET", "WAET"}
    for name, table in found.items():
        if name != "FACS":
            assert sum(table) & 0xFF == 0, name
            assert table[10:16] == b"PCEMU "
    assert len(found["FACS"]) == 64


def test_fadt_names_the_fixed_hardware() -> None:
    fadt = tables(FULL)["FACP"]
    (sci,) = struct.unpack_from("<H", fadt, 46)
    events, _, control, _, _, timer, gpe0, _ = struct.unpack_from("<8I", fadt, 56)
    assert (sci, events, control, timer, gpe0) == (9, 0x600, 0x604, 0x608, 0xAFE0)
    assert fadt[88:95] == bytes([4, 2, 0, 4, 4, 0, 0])
    (flags,) = struct.unpack_from("<I", fadt, 112)
    assert flags & 1 << 10  # the reset register is there
    assert fadt[116:129] == bytes([1, 8, 0, 1]) + struct.pack("<Q", 0xCF9) + b"\x06"
    (boot,) = struct.unpack_from("<H", fadt, 109)
    assert boot == 0b111  # legacy devices, an 8042, no VGA
    # The 64-bit addresses say the same, with the widths of the lengths.
    for offset, port, bits in ((148, 0x600, 32), (172, 0x604, 16), (208, 0x608, 32), (220, 0xAFE0, 32)):
        assert struct.unpack_from("<BBBBQ", fadt, offset) == (1, bits, 0, 0, port)


def test_fadt_says_what_is_missing() -> None:
    fadt = tables(FULL._replace(keyboard=False, mouse=False, rtc=False, reset_register=False, gpe0=None))["FACP"]
    (boot,) = struct.unpack_from("<H", fadt, 109)
    assert not boot & 2 and boot & 0x20
    (flags,) = struct.unpack_from("<I", fadt, 112)
    assert not flags & 1 << 10
    assert fadt[116:129] == bytes(13)
    assert fadt[92] == 0 and struct.unpack_from("<I", fadt, 80) == (0,)


def entries(madt: bytes) -> list[bytes]:
    at, found = 44, []
    while at < len(madt):
        found.append(madt[at : at + madt[at + 1]])
        at += madt[at + 1]
    assert at == len(madt)
    return found


def test_madt_lists_processors_and_interrupt_overrides() -> None:
    found = entries(tables(FULL._replace(apic_ids=(0, 1, 2)))["APIC"])
    assert [(e[2], e[3]) for e in found if e[0] == 0] == [(0, 0), (1, 1), (2, 2)]
    assert [e for e in found if e[0] == 1] == [struct.pack("<BBBBII", 1, 12, 0, 0, 0xFEC00000, 0)]
    overrides = [struct.unpack("<BIH", e[3:]) for e in found if e[0] == 2]
    assert overrides == [(0, 2, 0), (5, 5, 0xD), (9, 9, 0xD), (10, 10, 0xD), (11, 11, 0xD)]
    assert [e for e in found if e[0] == 4] == [bytes([4, 6, 0xFF, 0, 0, 1])]


def test_tables_follow_the_machine() -> None:
    assert "HPET" not in tables(FULL._replace(hpet_base=None))
    assert "APIC" not in tables(FULL._replace(apic=False))
    assert b"HPET" not in tables(FULL._replace(hpet_base=None))["DSDT"]
    hpet = tables(FULL._replace(hpet_id=0x8086A401))["HPET"]
    assert struct.unpack_from("<I", hpet, 36) == (0x8086A401,)
    dsdt = tables(FULL._replace(serial_ports=(SerialPort(3, 0x3E8, 4),)))["DSDT"]
    assert b"COM3" in dsdt and b"COM1" not in dsdt
    assert b"_PRT" not in tables(FULL._replace(pci=False))["DSDT"]


def test_processor_devices_match_the_madt() -> None:
    dsdt = tables(FULL._replace(apic_ids=tuple(range(20))))["DSDT"]
    assert dsdt.count(b"ACPI0007") == 20
    assert b"C013" in dsdt


MACHINES = {
    "full": FULL,
    "large": FULL._replace(low_ram=0xC0000000, high_ram=5 << 30, apic_ids=tuple(range(8))),
    "bare": FULL._replace(serial_ports=(), hpet_base=None, keyboard=False, mouse=False, fw_cfg=False, gpe0=None,
                    long_mode=False, apic=False),
}  # fmt: skip


@pytest.mark.skipif(IASL is None, reason="iasl (acpica-tools) is not installed")
@pytest.mark.parametrize("machine", MACHINES)
def test_iasl_has_nothing_to_say(machine: str, tmp_path: Path) -> None:
    """Disassemble and compile again: no error, no warning, no remark, and the same tables but for shorter names."""
    for name, table in tables(MACHINES[machine]).items():
        (tmp_path / f"{name}.aml").write_bytes(table)

        def run(*args: str) -> str:
            done = subprocess.run([str(IASL), *args], cwd=tmp_path, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout + done.stderr

        text = run("-d", f"{name}.aml")
        source = (tmp_path / f"{name}.dsl").read_text()
        for word in ("warning", "error", "incorrect", "invalid", "unresolved", "unknown"):
            assert word not in text.lower().replace("0 warnings", ""), text
            assert word not in source.lower(), name
        text = run("-oa", "-p", f"again_{name}", f"{name}.dsl")
        assert "0 Errors, 0 Warnings, 0 Remarks" in text, text
        if name != "DSDT":
            again = (tmp_path / f"again_{name}.aml").read_bytes()
            # Only the compiler's own id and version may differ, and the checksum with them.
            assert again[36:] == table[36:], name
