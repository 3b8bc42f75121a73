"""The I/O ports: the map of them, and who may use which (SDM vol. 1, chapter 18)."""
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from pcemu._core.state cimport *
from pcemu._core.faults cimport set_exc_err
from pcemu._core.latch cimport FULL, UNKNOWN, Latch, PortLatch, PortTable, latch_read, latch_write, settle_ports
from pcemu._core.mmu cimport sys_ld
from pcemu._core.physmem cimport Memory, after_callback, apart, before_callback

cdef extern from "Python.h":
    unsigned long long PyLong_AsUnsignedLongLongMask(object) except? 0xffffffffffffffff


cdef class IoSpace:
    """The 64 KiB of I/O ports."""

    def __cinit__(self):
        self.t = <PortTable*>calloc(1, sizeof(PortTable))
        if self.t is NULL:
            raise MemoryError()
        self.t.pyio = <void*>self

    def __init__(self):
        self.set_map([])

    def __dealloc__(self):
        free(self.t)

    def set_map(self, list ranges):
        """(port, count, handler, offset), not overlapping.

        A handler has read(offset, size) and write(offset, size, value). `direct`, if it has that, is (smallest, largest size, read,
        write) of the device's own methods for what needs no splitting or merging: read(offset, size) and write(offset, value, size).
        `latch`: its PortLatch, or None.
        """
        cdef PortTable* t = self.t
        self.reads = [None]
        self.writes = [None]
        self.own_reads = [None]
        self.own_writes = [None]
        self.handlers = [None]
        memset(t.index, 0, sizeof(t.index))
        memset(t.latch, 0, sizeof(t.latch))
        for port, count, handler, offset in ranges:
            i = len(self.reads)
            if i >= 4096:
                raise ValueError("too many port ranges")
            t.first[i] = port
            t.offset[i] = offset
            self.reads.append(handler.read)
            self.writes.append(handler.write)
            self.handlers.append(handler)
            t.low[i], t.high[i], read, write = getattr(handler, "direct", None) or (0, 0, None, None)
            self.own_reads.append(read)
            self.own_writes.append(write)
            latch = getattr(handler, "latch", None)
            if latch is not None:
                t.latch[i] = &(<PortLatch?>latch).state
            for p in range(port, min(port + count, 65536)):
                t.index[p] = i

    def latch(self):
        """What a device may hang on a window's handler to be called less often."""
        return PortLatch()

    cdef u64 read(self, u32 port, int size) except? 0:
        cdef PortTable* t = self.t
        cdef u32 i = t.index[port & 0xffff]
        cdef u32 at = t.offset[i] + port - t.first[i]
        cdef u64 v = 0
        cdef int k
        if size > 1 and (port + size > 0x10000 or t.index[port + size - 1] != i):
            for k in range(size):
                v |= (self.read((port + k) & 0xffff, 1) & 0xff) << (8 * k)
            return v
        if i == 0:
            return (<u64>1 << (8 * size)) - 1
        if t.low[i] <= size <= t.high[i] and not at & (size - 1):
            v = PyLong_AsUnsignedLongLongMask(self.own_reads[i](at, size))
        else:
            v = PyLong_AsUnsignedLongLongMask(self.reads[i](at, size))
        return v & (<u64>1 << (8 * size)) - 1

    cdef int write(self, u32 port, int size, u64 v) except -1:
        cdef PortTable* t = self.t
        cdef u32 i = t.index[port & 0xffff]
        cdef u32 at = t.offset[i] + port - t.first[i]
        cdef int k
        if size > 1 and (port + size > 0x10000 or t.index[port + size - 1] != i):
            for k in range(size):
                self.write((port + k) & 0xffff, 1, (v >> (8 * k)) & 0xff)
        elif i == 0:
            pass
        elif t.low[i] <= size <= t.high[i] and not at & (size - 1):
            self.own_writes[i](at, v, size)
        else:
            self.writes[i](at, size, v)
        return 0

    def inp(self, u32 port, int size):
        """Read a port (monitor, tests)."""
        return self.read(port & 0xffff, size)

    def outp(self, u32 port, int size, u64 value):
        self.write(port & 0xffff, size, value)


cdef bint port_in(Cpu* c, u32 port, int size, u64* out) noexcept nogil:
    cdef PortTable* t = <PortTable*>c.io
    cdef u32 i = t.index[port & 0xffff]
    cdef Latch* a = t.latch[i]
    if a is not NULL and size == 1 and not c.lock_pass and latch_read(c, a, t.offset[i] + port - t.first[i], out):
        return 1
    return call_in(c, port, size, out)


cdef bint port_out(Cpu* c, u32 port, int size, u64 v) noexcept nogil:
    cdef PortTable* t = <PortTable*>c.io
    cdef u32 i = t.index[port & 0xffff]
    cdef Latch* a = t.latch[i]
    cdef int kept
    if a is not NULL and size == 1 and not c.lock_pass:
        kept = latch_write(c, a, t.offset[i] + port - t.first[i], <u8>v)
        if kept != UNKNOWN:
            return kept != FULL or call_settle(c)
    return call_out(c, port, size, v)


cdef bint call_in(Cpu* c, u32 port, int size, u64* out) noexcept with gil:
    if c.lock_pass:
        return apart(c)
    before_callback(c)
    try:
        settle_ports(c)
        out[0] = (<IoSpace>(<PortTable*>c.io).pyio).read(port, size)
        return 1
    except BaseException as e:
        (<Memory>c.m.pymem).error = e
        c.exit = EXIT_CALLBACK
        return 0
    finally:
        after_callback(c)


cdef bint call_out(Cpu* c, u32 port, int size, u64 v) noexcept with gil:
    if c.lock_pass:
        return apart(c)
    before_callback(c)
    try:
        settle_ports(c)
        (<IoSpace>(<PortTable*>c.io).pyio).write(port, size, v)
        return 1
    except BaseException as e:
        (<Memory>c.m.pymem).error = e
        c.exit = EXIT_CALLBACK
        return 0
    finally:
        after_callback(c)


cdef bint call_settle(Cpu* c) noexcept with gil:
    before_callback(c)
    try:
        settle_ports(c)
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
