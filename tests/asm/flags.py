"""Arithmetic as the manual defines it, on Python's integers: (result, flags after) of an operation of n bits.

Flags are named as in case.py: o s z a p c, a capital where the flag is set.
"""
from __future__ import annotations


def word(**bits: int) -> str:
    return "".join(k.upper() if v else k for k, v in bits.items())


def szp(r: int, n: int) -> str:
    return word(s=r >> (n - 1) & 1, z=r == 0, p=bin(r & 0xFF).count("1") % 2 == 0)


def signed(v: int, n: int) -> int:
    v &= (1 << n) - 1
    return v - (1 << n) if v >> (n - 1) else v


def add(a: int, b: int, n: int, carry: int = 0) -> tuple[int, str]:
    mask = (1 << n) - 1
    a, b = a & mask, b & mask
    total = a + b + carry
    r = total & mask
    exact = signed(a, n) + signed(b, n) + carry
    return r, szp(r, n) + word(o=exact != signed(r, n), c=total > mask, a=(a & 15) + (b & 15) + carry > 15)


def sub(a: int, b: int, n: int, borrow: int = 0) -> tuple[int, str]:
    mask = (1 << n) - 1
    a, b = a & mask, b & mask
    r = (a - b - borrow) & mask
    exact = signed(a, n) - signed(b, n) - borrow
    return r, szp(r, n) + word(o=exact != signed(r, n), c=a < b + borrow, a=(a & 15) < (b & 15) + borrow)


def logic(r: int, n: int) -> tuple[int, str]:
    """AND, OR, XOR, TEST: AF is undefined."""
    return r & (1 << n) - 1, szp(r & (1 << n) - 1, n) + "oc"
