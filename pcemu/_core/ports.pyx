"""The I/O ports: the map of them, and who may use which (SDM vol. 1, chapter 18)."""
from libc.string cimport memset

from pcemu._core.state cimport *
from pcemu._core.faults cimport set_exc_err
from pcemu._core.mmu cimport sys_ld
from pcemu._core.physmem cimport Memory, after_callback, apart, before_callback


cdef class IoSpace:
    """The 64 KiB of I/O ports."""

    def __init__(self):
        self.reads = [None]
        self.writes = [None]
        self.n = 1

    def set_map(self, list ranges):
        """(port, count, handler, offset), not overlapping."""
        self.reads = [None]
        self.writes = [None]
        memset(self.index, 0, sizeof(self.index))
        for port, count, handler, offset in ranges:
            i = len(self.reads)
            if i >= 4096:
                raise ValueError("too many port ranges")
            self.first[i] = port
            self.offset[i] = offset
            self.reads.append(handler.read)
            self.writes.append(handler.write)
            for p in range(port, min(port + count, 65536)):
                self.index[p] = i

    cdef u64 read(self, u32 port, int size):
        cdef u32 i = self.index[port & 0xffff]
        cdef u64 v = 0
        cdef int k
        if size > 1 and (port + size > 0x10000 or self.index[port + size - 1] != i):
            for k in range(size):
                v |= (self.read((port + k) & 0xffff, 1) & 0xff) << (8 * k)
            return v
        if i == 0:
            return (<u64>1 << (8 * size)) - 1
        return <u64>(self.reads[i](self.offset[i] + port - self.first[i], size) & 0xffffffff)

    cdef write(self, u32 port, int size, u64 v):
        cdef u32 i = self.index[port & 0xffff]
        cdef int k
        if size > 1 and (port + size > 0x10000 or self.index[port + size - 1] != i):
            for k in range(size):
                self.write((port + k) & 0xffff, 1, (v >> (8 * k)) & 0xff)
            return
        if i:
            self.writes[i](self.offset[i] + port - self.first[i], size, v)

    def inp(self, u32 port, int size):
        """Read a port (monitor, tests)."""
        return self.read(port & 0xffff, size)

    def outp(self, u32 port, int size, u64 value):
        self.write(port & 0xffff, size, value)


cdef bint port_in(Cpu* c, u32 port, int size, u64* out) noexcept with gil:
    cdef IoSpace io = <IoSpace>c.io
    if c.lock_pass:
        return apart(c)
    before_callback(c)
    try:
        out[0] = io.read(port, size)
        return 1
    except BaseException as e:
        (<Memory>c.m.pymem).error = e
        c.exit = EXIT_CALLBACK
        return 0
    finally:
        after_callback(c)


cdef bint port_out(Cpu* c, u32 port, int size, u64 v) noexcept with gil:
    cdef IoSpace io = <IoSpace>c.io
    if c.lock_pass:
        return apart(c)
    before_callback(c)
    try:
        io.write(port, size, v)
        return 1
    except BaseException as e:
        (<Memory>c.m.pymem).error = e
        c.exit = EXIT_CALLBACK
        return 0
    finally:
        after_callback(c)


cdef bint io_allowed(Cpu* c, u32 port, int size) noexcept nogil:
    """IOPL, or the I/O permission bitmap of a 32-bit TSS (SDM vol. 1, 18.5.2)."""
    cdef u64 base, bits
    if not c.cr0 & CR0_PE or not (c.eflags & F_VM) and c.cpl <= (c.eflags >> 12) & 3:
        return 1
    if (c.seg[TR].flags >> 8 & 15) in (9, 11) and c.seg[TR].limit >= 103:
        if not sys_ld(c, c.seg[TR].base + 102, 2, &base):
            return 0
        if base + (port >> 3) + 1 <= c.seg[TR].limit:
            if not sys_ld(c, c.seg[TR].base + base + (port >> 3), 2, &bits):
                return 0
            if not (bits >> (port & 7)) & ((1 << size) - 1):
                return 1
    set_exc_err(c, EXC_GP, 0)
    return 0
