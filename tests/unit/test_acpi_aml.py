"""AML encodings, against bytes from the specification's examples and from compilers."""

from __future__ import annotations

import pytest

from pcemu.loader.acpi import aml


@pytest.mark.parametrize(
    ("content", "encoded"),
    [
        (0, "01"),
        (62, "3f"),
        (63, "4104"),  # 63 bytes and two of length: 65
        (4093, "4fff"),
        (4094, "810001"),
        (0xFFFFC, "8fffff"),
        (0xFFFFD, "c1000001"),
    ],
)
def test_package_length_counts_itself(content: int, encoded: str) -> None:
    assert aml.pkg_length(content).hex() == encoded


def test_package_length_has_an_end() -> None:
    with pytest.raises(ValueError):
        aml.pkg_length(1 << 28)


@pytest.mark.parametrize(
    ("text", "encoded"),
    [
        ("_SB", b"_SB_"),
        ("\\_SB", b"\\_SB_"),
        ("\\", b"\\\x00"),
        ("^^X", b"^^X___"),
        ("\\_SB.PCI0", b"\\\x2e_SB_PCI0"),
        ("\\_SB.PCI0.ISA.PRQA", b"\\\x2f\x04_SB_PCI0ISA_PRQA"),
    ],
)
def test_paths(text: str, encoded: bytes) -> None:
    assert aml.path(text) == encoded


@pytest.mark.parametrize("bad", ["lower", "9ABC", "TOOLONG", "A-B", "A..B"])
def test_bad_names_are_refused(bad: str) -> None:
    with pytest.raises(ValueError):
        aml.path(bad)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "00"), (1, "01"), (2, "0a02"), (0xFF, "0aff"), (0x100, "0b0001"), (0x10000, "0c00000100"),
     (1 << 32, "0e0000000001000000")],
)  # fmt: skip
def test_integers_are_as_short_as_they_can_be(value: int, encoded: str) -> None:
    assert aml.integer(value).hex() == encoded


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_integers_out_of_range(value: int) -> None:
    with pytest.raises(ValueError):
        aml.integer(value)


def test_eisa_ids() -> None:
    # The values that every DSDT has: PNP0A03 is 0x030ad041.
    assert aml.eisaid("PNP0A03") == bytes.fromhex("0c41d00a03")
    assert aml.eisaid("PNP0C0F") == bytes.fromhex("0c41d00c0f")
    with pytest.raises(ValueError):
        aml.eisaid("PNP03")


def test_field_lengths_do_not_count_themselves() -> None:
    assert aml.field_unit("AB", 8) == b"AB__\x08"
    assert aml.field_gap(0x45) == bytes.fromhex("004504")


def test_resource_template_is_a_buffer_with_an_end_tag() -> None:
    template = aml.resource_template(aml.io(0x3F8, 8), aml.irq(4))
    body = bytes.fromhex("4701f803f8030108" "221000" "7900")
    assert template == bytes([0x11, len(body) + 3, 0x0A, len(body)]) + body


def test_interrupt_number_is_where_methods_patch_it() -> None:
    descriptor = aml.interrupt(0x11223344)
    at = aml.INTERRUPT_NUMBER
    assert descriptor[at : at + 4] == bytes.fromhex("44332211")


def test_address_space_lengths() -> None:
    window = aml.qword_memory(0x1_0000_0000, 0x1_7FFF_FFFF)
    assert window[0] == 0x8A
    assert int.from_bytes(window[1:3], "little") == len(window) - 3 == 43
    assert int.from_bytes(window[-8:], "little") == 0x8000_0000
