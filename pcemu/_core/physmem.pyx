"""The physical map: guest RAM in host memory, the ranges over it, and calls to devices there."""
import os

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from pcemu._core.state cimport *
from pcemu._core cimport blocks, tlb
from pcemu._core.latch cimport settle_ports
from pcemu._core.undo cimport will_store

cdef extern from "sys/mman.h" nogil:
    void* sys_mmap "mmap"(void*, size_t, int, int, int, long)
    int sys_munmap "munmap"(void*, size_t)
    enum:
        PROT_NONE, PROT_READ, PROT_WRITE, MAP_PRIVATE, MAP_SHARED, MAP_ANONYMOUS, MAP_NORESERVE, MAP_FIXED
    void* MAP_FAILED

cdef extern from "unistd.h" nogil:
    int sys_close "close"(int)

cdef extern from "Python.h":
    object PyMemoryView_FromMemory(char*, Py_ssize_t, int)


cdef bint mach_read(Mach* m, Cpu* c, u64 pa, u8* buf, u64 size) noexcept nogil:
    cdef Range* r
    cdef u64 n
    while size:
        r = find_range(m, pa)
        if r is NULL:
            n = gap(m, pa, size)
            memset(buf, 0xff, n)
        else:
            n = r.end - pa + 1
            if n > size or n == 0:
                n = size
            if r.kind == R_RAM or r.kind == R_ROM:
                memcpy(buf, m.ram + r.off + (pa - r.start), n)
            elif r.kind == R_UNMAPPED:
                memset(buf, 0xff, n)
            else:
                n = mmio_size(pa, n)
                if not mmio_read(m, c, r, pa, buf, <int>n):
                    return 0
        pa += n
        buf += n
        size -= n
    return 1


cdef bint mach_write(Mach* m, Cpu* c, u64 pa, const u8* buf, u64 size, bint rom_too) noexcept nogil:
    cdef Range* r
    cdef u64 n, addr
    while size:
        r = find_range(m, pa)
        if r is NULL:
            n = gap(m, pa, size)
        else:
            n = r.end - pa + 1
            if n > size or n == 0:
                n = size
            if r.kind == R_RAM or r.kind == R_ROM and rom_too:
                addr = r.off + (pa - r.start)
                if c is NULL:
                    blocks.invalidate(m, addr, n)
                else:
                    will_store(c, m.ram + addr, n)
                memcpy(m.ram + addr, buf, n)
            elif r.kind == R_MMIO:
                n = mmio_size(pa, n)
                if not mmio_write(m, c, r, pa, buf, <int>n):
                    return 0
        pa += n
        buf += n
        size -= n
    return 1


cdef u64 gap(Mach* m, u64 pa, u64 size) noexcept nogil:
    """Unmapped bytes from pa on, up to size."""
    cdef u32 i
    for i in range(m.n_ranges):
        if m.ranges[i].start > pa:
            return size if m.ranges[i].start - pa > size else m.ranges[i].start - pa
    return size


cdef inline u64 mmio_size(u64 pa, u64 n) noexcept nogil:
    """The largest power of two up to 8 that the rest of an access can be done in."""
    if n >= 8:
        return 8
    return 4 if n >= 4 else 2 if n >= 2 else 1


cdef bint apart(Cpu* c) noexcept nogil:
    """Devices hear nothing of lockstep runs: an instruction that accesses one runs alone, between two of them."""
    c.exit = EXIT_SINGLE
    return 0


cdef bint mmio_read(Mach* m, Cpu* c, Range* r, u64 pa, u8* buf, int n) noexcept with gil:
    cdef Memory mem = <Memory>m.pymem
    cdef u64 v
    if c is not NULL and c.lock_pass:
        return apart(c)
    if c is not NULL:
        before_callback(c)
    try:
        if c is not NULL:
            settle_ports(c)
        v = <u64>(mem.targets[r.target][0](r.off + (pa - r.start), n) & 0xffffffffffffffff)
        memcpy(buf, &v, n)
        return 1
    except BaseException as e:
        mem.error = e
        if c is not NULL:
            c.exit = EXIT_CALLBACK
        return 0
    finally:
        if c is not NULL:
            after_callback(c)


cdef bint mmio_write(Mach* m, Cpu* c, Range* r, u64 pa, const u8* buf, int n) noexcept with gil:
    cdef Memory mem = <Memory>m.pymem
    cdef u64 v = 0
    if c is not NULL and c.lock_pass:
        return apart(c)
    memcpy(&v, buf, n)
    if c is not NULL:
        before_callback(c)
    try:
        if c is not NULL:
            settle_ports(c)
        mem.targets[r.target][1](r.off + (pa - r.start), n, v)
        return 1
    except BaseException as e:
        mem.error = e
        if c is not NULL:
            c.exit = EXIT_CALLBACK
        return 0
    finally:
        if c is not NULL:
            after_callback(c)


cdef class Memory:
    """Guest-physical memory: host blocks carved out of one memfd mapping, and the flattened map over them."""

    def __cinit__(self, u64 reserve=<u64>1 << 38, u64 tb_size=<u64>24 << 20):
        self.m = <Mach*>calloc(1, sizeof(Mach))
        if self.m is NULL:
            raise MemoryError()
        self.fd = -1

    def __init__(self, u64 reserve=<u64>1 << 38, u64 tb_size=<u64>24 << 20):
        """reserve: bytes of address space for all blocks together (sparse); tb_size: bytes for translated blocks (sparse)."""
        self.fd = os.memfd_create("pcemu-ram", getattr(os, "MFD_CLOEXEC", 1))
        self.targets = []
        self.blocks = []
        self.cpus = []
        self.m.ram = <u8*>sys_mmap(NULL, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        if self.m.ram == <u8*>MAP_FAILED:
            self.m.ram = NULL
            raise MemoryError("cannot reserve address space for guest RAM")
        self.m.ram_size = reserve
        self.m.pymem = <void*>self
        if not blocks.init_blocks(self.m, tb_size):
            raise MemoryError("cannot reserve memory for translated blocks")

    def __dealloc__(self):
        if self.m is not NULL:
            if self.m.ram is not NULL:
                sys_munmap(self.m.ram, self.m.ram_size)
            blocks.free_blocks(self.m)
            free(self.m.pages)
            free(self.m.ranges)
            free(self.m)
        if self.fd >= 0:
            sys_close(self.fd)          # at the interpreter's end the os module may be gone

    def alloc(self, str name, u64 size):
        """A zero-filled, page-aligned host block for RAM, ROM or video memory; returns its offset in host RAM space."""
        cdef u64 off = self.m.ram_used
        cdef u64 n = (size + 4095) & ~<u64>4095
        cdef PageInfo* pages
        if off + n > self.m.ram_size:
            raise MemoryError(f"{name}: {size} bytes do not fit into the host address space reserved for guest RAM")
        os.ftruncate(self.fd, off + n)
        if n and sys_mmap(self.m.ram + off, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, self.fd, off) == MAP_FAILED:
            raise MemoryError(f"{name}: cannot map {size} bytes")
        pages = <PageInfo*>calloc((off + n) >> 12, sizeof(PageInfo))
        if pages is NULL:
            raise MemoryError(name)
        if self.m.pages is not NULL:
            memcpy(pages, self.m.pages, (off >> 12) * sizeof(PageInfo))
            free(self.m.pages)
        self.m.pages = pages
        self.m.ram_used = off + n
        self.blocks.append((name, off, size))
        return off

    @property
    def host_blocks(self):
        """(name, offset, size) of every alloc()."""
        return list(self.blocks)

    @property
    def ram_fd(self):
        return self.fd

    def set_map(self, list ranges):
        """The flattened physical map: (start, size, 'ram'|'rom'|'mmio', target, offset), sorted, without overlaps.

        ram and rom: target is an offset from alloc(); mmio: target has read(offset, size) and write(offset, size, value).
        """
        cdef u32 n = len(ranges), i
        cdef Range* r = <Range*>calloc(n + 1, sizeof(Range))
        cdef u64 last = 0
        cdef list targets = []
        if r is NULL:
            raise MemoryError()
        for i, (start, size, kind, target, offset) in enumerate(ranges):
            if size <= 0 or (i and start <= last):
                free(r)
                raise ValueError(f"physical map: range at {start:#x} is empty or overlaps the one before")
            r[i].start = start
            r[i].end = last = start + size - 1
            if kind == "mmio":
                r[i].kind = R_MMIO
                r[i].off = offset
                r[i].target = len(targets)
                targets.append((target.read, target.write))
            else:
                r[i].kind = R_RAM if kind == "ram" else R_ROM
                r[i].off = target + offset
                if r[i].off + size > self.m.ram_used:
                    free(r)
                    raise ValueError(f"physical map: {kind} at {start:#x} reaches beyond its block")
        free(self.m.ranges)
        self.m.last_range = NULL
        self.m.ranges = r
        self.m.n_ranges = n
        self.targets = targets
        self.m.map_gen += 1
        for ptr in self.cpus:
            tlb.flush_tlb(<Cpu*><size_t>ptr, True)
            (<Cpu*><size_t>ptr).leave_req = 1

    def read(self, u64 paddr, Py_ssize_t n):
        """n bytes of physical memory as a bus master sees them (device ranges are read)."""
        cdef bytes out = bytes(n)
        if not mach_read(self.m, NULL, paddr, <u8*><char*>out, n):
            self.reraise()
        return out

    def write(self, u64 paddr, data, bint debug=False):
        """Store bytes as a bus master; translated code there is dropped. ROM is written only with debug=True."""
        cdef const unsigned char[:] view = data
        if view.shape[0] and not mach_write(self.m, NULL, paddr, &view[0], view.shape[0], debug):
            self.reraise()

    def ld(self, u64 paddr, int size):
        """Little-endian load of 1, 2, 4 or 8 bytes."""
        cdef u64 v = 0
        if not mach_read(self.m, NULL, paddr, <u8*>&v, size):
            self.reraise()
        return v

    def st(self, u64 paddr, int size, value):
        """Little-endian store of 1, 2, 4 or 8 bytes."""
        cdef u64 v = <u64>(value & 0xffffffffffffffff)
        if not mach_write(self.m, NULL, paddr, <u8*>&v, size, 0):
            self.reraise()

    cdef reraise(self):
        e, self.error = self.error, None
        raise e

    def block_view(self, u64 offset, u64 size):
        """Raw writable view of part of an alloc()ed block; for loading before the guest runs."""
        if offset + size > self.m.ram_used:
            raise ValueError("beyond the end of host RAM space")
        if size == 0:
            return memoryview(bytearray())
        return PyMemoryView_FromMemory(<char*>self.m.ram + offset, size, 0x200)

    def drop_code(self):
        """Forget every translated block (tests, tb-size experiments). Only while no CPU runs."""
        blocks.flush_all(self.m)
        for ptr in self.cpus:
            tlb.bump_jc(<Cpu*><size_t>ptr)

    def stats(self):
        return {"blocks": self.m.n_blocks, "invalidated": self.m.n_invalidated, "arena_used": self.m.arena_used,
                "arena_size": self.m.arena_size, "flush_all": self.m.n_flush_all, "map_generation": self.m.map_gen}
