"""Bits and indexes of the local APIC's registers (Intel SDM volume 3, chapter 11)."""

from __future__ import annotations

APIC_DEFAULT_BASE = 0xFEE00000
APIC_MSI_SIZE = 0x100000  # writes to the rest of the megabyte are MSI messages
MSI_PRIORITY = 4096

BASE_BSP, BASE_X2APIC, BASE_ENABLE = 1 << 8, 1 << 10, 1 << 11

LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR = range(6)
LVT_MASKED, LVT_LEVEL, LVT_REMOTE_IRR = 1 << 16, 1 << 15, 1 << 14
# Figure 11-8: bits software may write in each entry.
LVT_WRITABLE = (0x700FF, 0x107FF, 0x107FF, 0x1A7FF, 0x1A7FF, 0x100FF)
TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_TSC_DEADLINE = range(3)

SVR_ENABLE = 1 << 8
# Error status register, figure 11-9.
ESR_SEND_ILLEGAL, ESR_RECEIVE_ILLEGAL, ESR_ILLEGAL_REGISTER = 1 << 5, 1 << 6, 1 << 7
