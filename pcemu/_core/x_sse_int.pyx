"""Packed integers, bitwise logic and shuffles on vector registers (SSE2 to SSE4.2), expanded from x_sse_int.pxi.in.

Register and memory form of each; the operation itself is one line of host_simd.h.
"""
from pcemu._core.simd cimport *

include "gen/x_sse_int.pxi"
include "gen/x_sse_int_reg.pxi"
