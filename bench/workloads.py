"""What is measured: groups of workloads, how fast pcemu is meant to be at each, and how much each does.

The guest's table (table.h) is made of this one. ``rounds`` are such that QEMU's TCG takes about 0.3 seconds of a core
of 2024, in 64-bit code and in 32-bit code. ``floor`` is pcemu's speed as a multiple of TCG's. Workloads of a group that
share a floor make one row of the summary.
"""

from __future__ import annotations

from dataclasses import dataclass

BOTH = (64, 32)


@dataclass(frozen=True)
class Workload:
    name: str
    rounds: tuple[int, int]  # of the 64-bit program, of the 32-bit program
    floor: float
    about: str
    bits: tuple[int, ...] = BOTH
    needs: str = "0"

    @property
    def function(self) -> str:
        return "run_" + self.name.replace("-", "_")


@dataclass(frozen=True)
class Group:
    name: str
    title: str
    workloads: tuple[Workload, ...]


BOOT = Workload("boot", (1, 1), 1.5, "the whole process from its start to the guest's first program")

GROUPS = (
    Group("integer", "straight integer", (
        Workload("alu", (9000, 7000), 1.0, "multiplication, shifts, rotation, logic"),
        Workload("divide", (4300, 4300), 1.0, "division, by 32 bits and by the machine's width"),
        Workload("crc", (12000, 12000), 1.3, "a CRC bit by bit"),
    )),
    Group("branchy", "branches", (
        Workload("sort", (600, 600), 1.7, "quicksort of random numbers"),
        Workload("sieve", (550, 550), 1.7, "the sieve of Eratosthenes"),
        Workload("collatz", (900, 750), 1.7, "Collatz sequences: blocks of two instructions"),
        Workload("tokens", (5000, 7000), 1.7, "a tokenizer: a machine of states over text"),
    )),
    Group("calls", "calls, indirect jumps, interpreters", (
        Workload("calls", (3000, 2800), 2.5, "Fibonacci and Ackermann by the book"),
        Workload("indirect", (2800, 2500), 2.5, "calls through a table"),
        Workload("vm-switch", (1400, 1300), 2.5, "a byte-code interpreter: a switch"),
        Workload("vm-threaded", (1400, 1300), 2.5, "the same with a jump at the end of each operation"),
        Workload("vm-calls", (600, 500), 2.5, "the same with a function for each operation"),
    )),
    Group("streaming", "streaming, hashing, clocks", (
        Workload("arrays", (130, 80), 2.0, "passes over arrays of 2 MiB"),
        Workload("copy-loop", (7000, 6600), 2.0, "a copy in a loop of words"),
        Workload("sha256", (5700, 3000), 2.0, "SHA-256"),
        Workload("strings", (6000, 6000), 2.0, "strlen, strcmp, strchr and a hash, byte by byte"),
        Workload("clock", (11000, 6000), 2.0, "clock_gettime through the vDSO"),
        Workload("rdtsc", (50000, 44000), 2.0, "RDTSC"),
    )),
    Group("short", "short REP strings, integer SSE", (
        Workload("short-rep", (2800, 2600), 2.0, "REP MOVS, STOS, SCAS and CMPS of 4 to 35 bytes"),
        Workload("sse-integer", (18000, 18000), 2.0, "packed integers: mixing, averages, saturating sums"),
        Workload("sse-search", (1500, 1500), 2.0, "sums of absolute differences"),
        Workload("integer-avx", (5000, 5000), 2.0, "AVX2: compare, blend, permute", needs="NEEDS_AVX2"),
    )),
    Group("apart", "arrays a power of two apart", (
        Workload("apart-4m", (1600, 1600), 8.0, "loops over four arrays 4 MiB apart"),
        Workload("hops-4m", (400, 400), 8.0, "a chain through four arrays 4 MiB apart"),
        Workload("apart-16m", (1600, 1600), 2.0, "loops over four arrays 16 MiB apart"),
        Workload("apart-64m", (1600, 1600), 2.0, "loops over four arrays 64 MiB apart"),
        Workload("hops-64m", (400, 400), 2.0, "a chain through four arrays 64 MiB apart"),
    )),
    Group("chasing", "chains of pointers", (
        Workload("short-chain", (2200, 2200), 1.0, "a chain through 64 KiB"),
        Workload("chain", (50, 50), 1.0, "a chain through 16 MiB in random order: the host's memory sets the time"),
    )),
    Group("block", "REP MOVS and STOS, libc's mem*", (
        Workload("rep-movs", (2300, 2100), 15.0, "REP MOVS of 32 to 64 KiB"),
        Workload("rep-stos", (3300, 3000), 15.0, "REP STOS of 32 to 64 KiB"),
        Workload("block-copy", (650, 600), 15.0, "REP MOVSB of 256 KiB"),
        Workload("libc-mem", (20000, 18000), 15.0, "memcpy, memset, memchr, memcmp with SSE2, as C libraries have them"),
    )),
    Group("float", "SSE and AVX floating point", (
        Workload("nbody", (2000, 1800), 15.0, "scalar doubles: planets"),
        Workload("matrix", (2400, 2100), 15.0, "scalar doubles: a product of matrices"),
        Workload("packed-single", (16000, 15000), 15.0, "packed singles: multiply, divide, roots"),
        Workload("mandelbrot", (5000, 4500), 15.0, "packed doubles: the Mandelbrot set"),
        Workload("matrix-avx", (3000, 3000), 15.0, "AVX and FMA: a product of matrices", needs="NEEDS_AVX2"),
    )),
    Group("x87", "x87", (
        Workload("x87", (480, 460), 10.0, "80-bit arithmetic and roots"),
        Workload("x87-functions", (6000, 6000), 2.0, "sines, arcs, logarithms, powers"),
    )),
    Group("system", "system calls, faults, processes, pipes, files", (
        Workload("syscall", (7000, 3500), 1.3, "getppid"),
        Workload("page-fault", (600, 600), 1.3, "first touch of fresh pages"),
        Workload("signal", (900, 900), 1.3, "stores to protected pages, a signal handler that allows them"),
        Workload("fork-exec", (200, 270), 1.3, "fork, execve, wait"),
        Workload("pipe", (160, 150), 1.3, "two processes wake each other"),
        Workload("file", (1300, 850), 1.3, "write, read, open"),
    )),
    Group("code", "patched and fresh code", (
        Workload("patch", (450, 450), 10.0, "a function whose constants are patched between runs"),
        Workload("patch-loop", (900, 900), 10.0, "a loop that patches itself"),
        Workload("fresh", (52, 52), 10.0, "new functions, each run five times"),
        Workload("guest-jit", (72, 72), 10.0, "a compiler of formulas, each run 500 times"),
    )),
    Group("wide", "64-bit arithmetic in 32-bit code", (
        Workload("wide-alu", (300, 700), 3.0, "64-bit multiplication, shifts, sums", bits=(32,)),
        Workload("wide-hash", (150, 1900), 3.0, "the rounds of SHA-512", bits=(32,)),
    )),
    Group("boot", "kernel to user space (whole process)", (BOOT,)),
)  # fmt: skip

WORKLOADS = {workload.name: workload for group in GROUPS for workload in group.workloads}


def choose(names: list[str], bits: int) -> list[str]:
    """The workloads of some groups, or named themselves (none: all), that there are for 64 or 32 bits, without 'boot'.
    ValueError names what is unknown."""
    wanted: dict[str, None] = {}
    groups = {group.name: group for group in GROUPS}
    for name in names or groups:
        if name in groups:  # before a workload of the same name
            wanted |= dict.fromkeys(workload.name for workload in groups[name].workloads)
        elif name in WORKLOADS:
            wanted[name] = None
        else:
            raise ValueError(f"'{name}' is neither a group ({', '.join(groups)}) nor a workload ({', '.join(WORKLOADS)})")
    return [name for name in WORKLOADS if name in wanted and name != "boot" and bits in WORKLOADS[name].bits]


def c_table(bits: int) -> str:
    """table.h of the guest."""
    index = BOTH.index(bits)
    return "".join(f'WORKLOAD("{w.name}", {w.function}, {w.rounds[index]}, {w.needs})\n'
                   for w in WORKLOADS.values() if w is not BOOT and bits in w.bits)  # fmt: skip
