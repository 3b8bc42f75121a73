"""Who is where in guest RAM while images are being placed."""

from __future__ import annotations

from typing import NamedTuple

PAGE = 4096


class Claim(NamedTuple):
    start: int
    end: int
    what: str


class NoRoomError(ValueError):
    """Nothing fits; the loader that asked turns it into a LoaderError that names its image."""


class Layout:
    """RAM below 4 GiB and the pieces of it that are taken."""

    def __init__(self, ram_end: int) -> None:
        self.ram_end = ram_end
        self.claims: list[Claim] = []
        self.take(0xA0000, 0x60000, "the video memory and BIOS area")

    def take(self, start: int, size: int, what: str) -> int:
        """Claim a place that is given; it must be free RAM."""
        end = start + size
        if start < 0 or end > self.ram_end:
            raise NoRoomError(f"{what} at {start:#x}-{end - 1:#x} does not fit into {_mib(self.ram_end)} of RAM")
        for claim in self.claims:
            if start < claim.end and claim.start < end:
                raise NoRoomError(f"{what} at {start:#x}-{end - 1:#x} overlaps {claim.what} at {claim.start:#x}")
        self.claims.append(Claim(start, end, what))
        return start

    def top(self, size: int, what: str, limit: int | None = None, align: int = PAGE) -> int:
        """Claim the highest free place that ends at `limit` or below."""
        end = self.ram_end if limit is None else min(limit, self.ram_end)
        for claim in sorted(self.claims, key=lambda c: -c.start):
            start = (end - size) & -align
            if start >= claim.end:
                break
            end = min(end, claim.start)
        start = (end - size) & -align
        if start < 0:
            raise NoRoomError(f"no room for {what} ({_mib(size)}) in {_mib(self.ram_end)} of RAM")
        return self.take(start, size, what)

    def bottom(self, size: int, what: str, start: int = PAGE, align: int = PAGE) -> int:
        """Claim the lowest free place from `start` on."""
        at = (start + align - 1) & -align
        for claim in sorted(self.claims):
            if at + size <= claim.start:
                break
            if claim.end > at:
                at = (claim.end + align - 1) & -align
        if at + size > self.ram_end:
            raise NoRoomError(f"no room for {what} ({_mib(size)}) in {_mib(self.ram_end)} of RAM")
        return self.take(at, size, what)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB".replace(".0 ", " ")
