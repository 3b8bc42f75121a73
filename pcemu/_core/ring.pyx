# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Virtqueues over guest RAM: split and packed rings (Virtual I/O Device specification 1.2, sections 2.6 to 2.8).

A device takes buffer chains off a ring, fills or empties them where they lie in guest RAM, and gives
them back. Whatever a guest puts into a ring is checked: what makes no sense is a RingError, never an access outside RAM.
Device and guest run in one thread, so there are no barriers.
"""
cimport cython
from libc.string cimport memcpy
from libc.stdlib cimport free, realloc
from cpython.buffer cimport PyBuffer_FillInfo
from pcemu._core.state cimport *
from pcemu._core.physmem cimport Memory
from pcemu._core cimport blocks

cdef enum:
    MAX_CHAIN = 1024        # descriptors in one indirect table; a direct chain has as many as the ring at most
    # descriptors' flags
    DESC_NEXT = 1
    DESC_WRITE = 2
    DESC_INDIRECT = 4
    PACKED_AVAIL = 0x80
    PACKED_USED = 0x8000
    # split rings' flags
    AVAIL_NO_INTERRUPT = 1
    USED_NO_NOTIFY = 1
    # packed rings' event suppression
    EVENT_DISABLE = 1
    EVENT_DESC = 2


class RingError(Exception):
    """The driver put something into a ring that the specification forbids."""


cdef struct Desc:           # of split rings and indirect tables (2.7.5)
    u64 addr
    u32 len
    u16 flags
    u16 next

cdef struct PackedDesc:     # (2.8.13)
    u64 addr
    u32 len
    u16 id
    u16 flags

cdef struct Piece:          # a piece of a buffer that is contiguous in host memory
    u8* host
    u64 len


cdef Range* range_of(Mach* m, u64 pa) noexcept nogil:
    cdef u32 lo = 0, hi = m.n_ranges, mid
    cdef Range* r = m.last_range
    if r is not NULL and r.start <= pa <= r.end:
        return r
    while lo < hi:
        mid = (lo + hi) >> 1
        r = &m.ranges[mid]
        if pa < r.start:
            hi = mid
        elif pa > r.end:
            lo = mid + 1
        else:
            return r
    return NULL


@cython.final
@cython.no_gc
@cython.freelist(512)
cdef class GuestBytes:
    """A piece of guest RAM with the buffer protocol; keeps the memory mapped while somebody looks at it.

    Length, slices and assignment to slices are a memoryview's. A request of a disk has a hundred of these: a memoryview takes
    ten times as long to make and drop, and is two more objects for the collector of garbage to walk over.
    """

    cdef Memory mem
    cdef u8* host
    cdef Py_ssize_t size
    cdef readonly bint readonly

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.host, self.size, self.readonly, flags)

    def __len__(self):
        return self.size

    def __getitem__(self, where):
        cdef Py_ssize_t start, stop, step
        if not isinstance(where, slice):
            return memoryview(self)[where]
        start, stop, step = where.indices(self.size)
        if step != 1:
            raise NotImplementedError("steps in guest RAM")
        return piece(self.mem, self.host + start, <u64>max(stop - start, 0), self.readonly)

    def __setitem__(self, where, value):
        memoryview(self)[where] = value


cdef GuestBytes piece(Memory mem, u8* host, u64 size, bint readonly):
    cdef GuestBytes b = GuestBytes.__new__(GuestBytes)
    b.mem = mem
    b.host = host
    b.size = <Py_ssize_t>size
    b.readonly = readonly
    return b


def map_ram(Memory mem, u64 paddr, u64 size):
    """Writable memoryviews that make up `size` bytes of guest RAM from `paddr`, or None where not all of it is RAM.

    Whoever writes through them calls `wrote()` afterwards.
    """
    cdef list found = []
    cdef Range* r
    cdef u64 n
    if paddr + size < paddr:
        return None
    while size:
        r = range_of(mem.m, paddr)
        if r is NULL or r.kind != R_RAM:
            return None
        n = min(size, r.end - paddr + 1)
        found.append(memoryview(piece(mem, mem.m.ram + r.off + (paddr - r.start), n, 0)))
        paddr += n
        size -= n
    return found


def host_offset(Memory mem, u64 paddr):
    """Where the RAM page at `paddr` lies in the memory's file descriptor; -1 when there is no RAM."""
    cdef Range* r = range_of(mem.m, paddr)
    if r is NULL or r.kind != R_RAM:
        return -1
    return r.off + (paddr - r.start)


def wrote(Memory mem, u64 paddr, u64 size):
    """Guest RAM was changed through a view: code that was translated from there is forgotten."""
    cdef Range* r
    cdef u64 n
    while size:
        r = range_of(mem.m, paddr)
        if r is NULL:
            return
        n = min(size, r.end - paddr + 1)
        if r.kind == R_RAM:
            blocks.invalidate(mem.m, r.off + (paddr - r.start), n)
        paddr += n
        size -= n


cdef void give_back(Mach* m, u64 offset, u64 size) noexcept nogil:
    """Whole pages of host RAM space: they read as zeroes from now on, and the host has its memory back."""
    cdef u64 end = (offset + size) & ~<u64>4095
    offset = (offset + 4095) & ~<u64>4095
    if offset < end:
        blocks.invalidate(m, offset, end - offset)
        madvise(m.ram + offset, end - offset, MADV_REMOVE)


def discard_pages(Memory mem, frames):
    """Give guest pages back to the host: `frames` holds their numbers, 4 bytes each, little-endian. Returns how many were RAM."""
    cdef const unsigned char[::1] data = frames
    cdef Py_ssize_t count = data.shape[0] >> 2, i
    cdef const u32* numbers
    cdef u64 pa, offset, start = 0, size = 0, found = 0
    cdef Range* r
    if count == 0:
        return 0
    numbers = <const u32*>&data[0]
    for i in range(count):
        pa = <u64>numbers[i] << 12
        r = range_of(mem.m, pa)
        if r is NULL or r.kind != R_RAM or r.end - pa < 4095:
            continue
        found += 1
        offset = r.off + (pa - r.start)
        if size and offset == start + size:
            size += 4096
        elif size and offset + 4096 == start:
            start = offset
            size += 4096
        else:
            if size:
                give_back(mem.m, start, size)
            start = offset
            size = 4096
    if size:
        give_back(mem.m, start, size)
    return found


cdef extern from "sys/mman.h" nogil:
    int madvise(void*, size_t, int)
    enum:
        MADV_REMOVE


cdef class Chain:
    """A buffer the driver made available: first what the device reads ("out"), then what it writes ("in")."""

    cdef Ring ring
    cdef Memory mem
    cdef Piece* pieces
    cdef u32 room, n_out, n
    cdef u32 slots          # ring entries it takes
    cdef u32 generation
    cdef bint given_back
    cdef readonly u32 head          # what the driver knows it by: the first descriptor's index, or the buffer id
    cdef readonly u64 out_size
    cdef readonly u64 in_size

    def __dealloc__(self):
        free(self.pieces)

    cdef int add(self, u64 pa, u64 size, bint writable) except -1:
        cdef Mach* m = self.mem.m
        cdef Range* r
        cdef u64 n
        if size == 0:
            raise RingError("a buffer of no bytes")
        if pa + size < pa:
            raise RingError(f"a buffer at {pa:#x} that wraps around")
        if writable:
            self.in_size += size
        else:
            if self.n > self.n_out:
                raise RingError("a device-readable buffer behind a device-writable one")
            self.out_size += size
        while size:
            r = range_of(m, pa)
            if r is NULL or not (r.kind == R_RAM or (r.kind == R_ROM and not writable)):
                raise RingError(f"a buffer at {pa:#x}, where there is no RAM")
            n = min(size, r.end - pa + 1)
            if self.n == self.room:
                self.grow()
            self.pieces[self.n].host = m.ram + r.off + (pa - r.start)
            self.pieces[self.n].len = n
            self.n += 1
            if not writable:
                self.n_out = self.n
            pa += n
            size -= n
        return 0

    cdef int grow(self) except -1:
        cdef u32 room = self.room * 4 if self.room else 4
        cdef void* p = realloc(self.pieces, room * sizeof(Piece))
        if p is NULL:
            raise MemoryError()
        self.pieces = <Piece*>p
        self.room = room
        return 0

    cdef list views(self, u32 first, u32 end, u64 skip, u64 size, bint readonly):
        cdef list found = []
        cdef u32 i
        cdef u64 n
        for i in range(first, end):
            n = self.pieces[i].len
            if skip >= n:
                skip -= n
                continue
            n = min(n - skip, size)
            if n == 0:
                break
            found.append(piece(self.mem, self.pieces[i].host + skip, n, readonly))
            skip = 0
            size -= n
        return found

    def out_views(self, u64 skip=0, u64 size=0xffffffffffffffff):
        """What the device reads, without the first `skip` bytes: GuestBytes, read-only."""
        return self.views(0, self.n_out, skip, size, 1)

    def in_views(self, u64 skip=0, u64 size=0xffffffffffffffff):
        """What the device writes, without the first `skip` bytes: GuestBytes."""
        return self.views(self.n_out, self.n, skip, size, 0)

    def read(self, u64 offset, u64 size):
        """A copy of at most `size` bytes of the device-readable part."""
        cdef bytes out
        cdef u8* to
        cdef u32 i
        cdef u64 n
        if offset >= self.out_size:
            return b""
        size = min(size, self.out_size - offset)
        out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)
        to = <u8*><char*>out
        for i in range(self.n_out):
            n = self.pieces[i].len
            if offset >= n:
                offset -= n
                continue
            n = min(n - offset, size)
            memcpy(to, self.pieces[i].host + offset, n)
            to += n
            size -= n
            offset = 0
            if size == 0:
                break
        return out

    def write(self, u64 offset, data):
        """Store bytes into the device-writable part from `offset` on; returns how many fitted."""
        cdef const unsigned char[::1] source = data
        cdef u64 size = source.shape[0], done = 0, n
        cdef u32 i
        if size == 0:
            return 0
        for i in range(self.n_out, self.n):
            n = self.pieces[i].len
            if offset >= n:
                offset -= n
                continue
            n = min(n - offset, size - done)
            memcpy(self.pieces[i].host + offset, &source[done], n)
            done += n
            offset = 0
            if done == size:
                break
        return done

    def discard(self):
        """Give the whole pages of the writable part back to the host; they read as zeroes."""
        cdef u32 i
        for i in range(self.n_out, self.n):
            give_back(self.mem.m, <u64>(self.pieces[i].host - self.mem.m.ram), self.pieces[i].len)

    cdef void forget_code(self, u64 written) noexcept:
        """The first `written` bytes of the writable part have changed."""
        cdef u32 i
        cdef u64 n
        for i in range(self.n_out, self.n):
            if written == 0:
                break
            n = min(self.pieces[i].len, written)
            blocks.invalidate(self.mem.m, <u64>(self.pieces[i].host - self.mem.m.ram), n)
            written -= n


cdef extern from "Python.h":
    bytes PyBytes_FromStringAndSize(const char*, Py_ssize_t)


cdef class Ring:
    """What both formats share. `desc`, `driver` and `device` are guest-physical addresses of its three areas."""

    cdef Memory mem
    cdef Mach* m
    cdef readonly u32 size
    cdef readonly u64 desc_pa, driver_pa, device_pa
    cdef u8* desc
    cdef u8* driver
    cdef u8* device
    cdef u32 map_gen
    cdef bint located
    cdef bint event_idx, indirect
    cdef bint on_empty          # VIRTIO_F_NOTIFY_ON_EMPTY of legacy drivers
    cdef u32 generation
    cdef readonly u32 in_flight
    cdef u16 next_avail         # split: counts for ever; packed: a place in the ring
    cdef u16 next_used
    cdef u16 signalled
    cdef bint signalled_valid
    cdef bint avail_wrap, used_wrap

    def __init__(self, Memory mem, u32 size, u64 desc, u64 driver, u64 device, bint event_idx, bint indirect, bint on_empty=False):
        """Raises RingError when the areas do not lie in RAM."""
        self.mem = mem
        self.m = mem.m
        self.size = size
        self.desc_pa, self.driver_pa, self.device_pa = desc, driver, device
        self.event_idx = event_idx
        self.indirect = indirect
        self.on_empty = on_empty
        self.avail_wrap = self.used_wrap = 1
        self.locate()

    # -- where the areas are --------------------------------------------------------------------------------

    cdef u8* area(self, u64 pa, u64 size, str name) except NULL:
        cdef Range* r = range_of(self.m, pa)
        if r is NULL or r.kind != R_RAM or pa + size < pa or pa + size - 1 > r.end:
            raise RingError(f"{name} at {pa:#x} is not in RAM")
        return self.m.ram + r.off + (pa - r.start)

    cdef int locate(self) except -1:
        raise NotImplementedError

    cdef inline int ready(self) except -1:
        if not self.located or self.map_gen != self.m.map_gen:
            self.located = 0
            self.locate()
            self.map_gen = self.m.map_gen
            self.located = 1
        return 0

    cdef inline void put16(self, u8* p, u16 v) noexcept:
        blocks.invalidate(self.m, <u64>(p - self.m.ram), 2)
        (<u16*>p)[0] = v

    # -- taking and giving back -----------------------------------------------------------------------------

    def pop(self):
        """The next chain, None when there is none."""
        self.ready()
        return self.take()

    def pop_all(self, u32 limit=0xffffffff):
        """All chains there are, up to `limit`."""
        cdef list found = []
        cdef Chain chain
        self.ready()
        while limit:
            chain = self.take()
            if chain is None:
                break
            found.append(chain)
            limit -= 1
        return found

    def push(self, Chain chain, u64 written):
        """Give a chain back; `written` bytes were stored into its writable part. False: it is one of before a reset."""
        if chain.ring is not self or chain.given_back or chain.generation != self.generation:
            return False
        chain.given_back = 1
        self.in_flight -= 1
        chain.forget_code(written)
        self.ready()
        self.give(chain, <u32>min(written, <u64>0xffffffff))
        return True

    def rewind(self, Chain chain):
        """Put the chain that was taken last back, as if it had not been."""
        if chain.ring is not self or chain.given_back or chain.generation != self.generation:
            return
        chain.given_back = 1
        self.in_flight -= 1
        self.untake(chain)

    def drop(self):
        """The ring was reset: chains that are still out are nobody's."""
        self.generation += 1
        self.in_flight = 0

    cdef Chain take(self):
        raise NotImplementedError

    cdef int give(self, Chain chain, u32 written) except -1:
        raise NotImplementedError

    cdef void untake(self, Chain chain) noexcept:
        pass

    cdef Chain new_chain(self):
        cdef Chain chain = Chain.__new__(Chain)
        if self.in_flight >= self.size:
            raise RingError("more buffers than the queue has entries")
        chain.ring = self
        chain.mem = self.mem
        chain.generation = self.generation
        return chain

    cdef int add_table(self, Chain chain, u64 pa, u32 size, bint packed) except -1:
        """An indirect table (2.7.5.3, 2.8.8): chained in split rings, in order in packed ones."""
        cdef u32 n = size >> 4, count = 0, at = 0
        cdef Desc d
        if size == 0 or size & 15:
            raise RingError(f"an indirect table of {size} bytes")
        while True:
            if count >= n or count >= MAX_CHAIN:
                if packed and count == n:
                    return 0
                raise RingError("an indirect table that loops or is too long")
            self.fetch(pa + 16 * <u64>at, &d)
            if packed:
                # Same layout but for id and flags, which are swapped: flags are the last two bytes.
                d.flags = d.next & DESC_WRITE
                chain.add(d.addr, d.len, d.flags != 0)
                at += 1
            else:
                if d.flags & DESC_INDIRECT:
                    raise RingError("an indirect table inside an indirect table")
                chain.add(d.addr, d.len, (d.flags & DESC_WRITE) != 0)
                if not d.flags & DESC_NEXT:
                    return 0
                if d.next >= n:
                    raise RingError(f"descriptor {d.next} of an indirect table of {n}")
                at = d.next
            count += 1

    cdef int fetch(self, u64 pa, Desc* d) except -1:
        """One descriptor out of an indirect table, which may lie in pieces."""
        cdef Range* r = range_of(self.m, pa)
        cdef u64 n, done = 0
        if r is not NULL and (r.kind == R_RAM or r.kind == R_ROM) and r.end - pa >= 15:
            memcpy(d, self.m.ram + r.off + (pa - r.start), 16)
            return 0
        while done < 16:
            r = range_of(self.m, pa + done)
            if r is NULL or not (r.kind == R_RAM or r.kind == R_ROM):
                raise RingError(f"an indirect table at {pa:#x}, where there is no RAM")
            n = min(16 - done, r.end - (pa + done) + 1)
            memcpy(<u8*>d + done, self.m.ram + r.off + (pa + done - r.start), n)
            done += n
        return 0

    # -- notifications --------------------------------------------------------------------------------------

    def should_notify(self):
        """Does the driver want an interrupt for what was given back since this was last asked?"""
        raise NotImplementedError

    def suppress(self, bint on):
        """Ask the driver not to notify of new buffers (or to do it again): advice, no more (2.7.10, 2.8.10)."""
        raise NotImplementedError

    @property
    def pending(self):
        """Are there buffers to take?"""
        raise NotImplementedError

    # -- state ----------------------------------------------------------------------------------------------

    def position(self):
        """Where device and driver are, for a saved machine and for registers that show it."""
        return {"next_avail": self.next_avail, "next_used": self.next_used, "signalled": self.signalled,
                "signalled_valid": bool(self.signalled_valid), "avail_wrap": bool(self.avail_wrap),
                "used_wrap": bool(self.used_wrap)}

    def set_position(self, dict at):
        self.next_avail = at["next_avail"]
        self.next_used = at["next_used"]
        self.signalled = at["signalled"]
        self.signalled_valid = at["signalled_valid"]
        self.avail_wrap = at["avail_wrap"]
        self.used_wrap = at["used_wrap"]


cdef inline bint event_passed(u16 event, u16 new, u16 old) noexcept nogil:
    """Did the index go past `event` on its way from `old` to `new`? (2.7.7.2)"""
    return <u16>(new - event - 1) < <u16>(new - old)


cdef class SplitRing(Ring):
    """Descriptor table, available ring, used ring (2.7)."""

    cdef int locate(self) except -1:
        cdef u32 tail = 2 if self.event_idx else 0
        self.desc = self.area(self.desc_pa, 16 * <u64>self.size, "the descriptor table")
        self.driver = self.area(self.driver_pa, 4 + 2 * <u64>self.size + tail, "the available ring")
        self.device = self.area(self.device_pa, 4 + 8 * <u64>self.size + tail, "the used ring")
        return 0

    cdef inline u16 avail_idx(self) noexcept:
        return (<u16*>(self.driver + 2))[0]

    @property
    def pending(self):
        self.ready()
        return self.avail_idx() != self.next_avail

    cdef Chain take(self):
        cdef u16 ahead = <u16>(self.avail_idx() - self.next_avail)
        cdef Chain chain
        cdef u32 count = 0, at
        cdef Desc d
        if ahead == 0:
            return None
        if ahead > self.size:
            raise RingError(f"the available index moved by {ahead}")
        at = (<u16*>(self.driver + 4))[self.next_avail % self.size]
        if at >= self.size:
            raise RingError(f"descriptor {at} in the available ring of a queue of {self.size}")
        chain = self.new_chain()
        chain.head = at
        chain.slots = 1
        while True:
            if count >= self.size:
                raise RingError("a chain that loops")
            d = (<Desc*>self.desc)[at]
            if d.flags & DESC_INDIRECT:
                if not self.indirect:
                    raise RingError("an indirect table that was not negotiated")
                if d.flags & DESC_NEXT:
                    raise RingError("an indirect table in the middle of a chain")
                self.add_table(chain, d.addr, d.len, 0)    # after ordinary descriptors, too (2.7.5.3.2)
                break
            chain.add(d.addr, d.len, (d.flags & DESC_WRITE) != 0)
            if not d.flags & DESC_NEXT:
                break
            at = d.next
            if at >= self.size:
                raise RingError(f"descriptor {at} of a queue of {self.size}")
            count += 1
        self.next_avail += 1
        self.in_flight += 1
        if self.event_idx:
            self.put16(self.device + 4 + 8 * self.size, self.next_avail)
        return chain

    cdef void untake(self, Chain chain) noexcept:
        self.next_avail -= 1
        if self.event_idx:
            self.put16(self.device + 4 + 8 * self.size, self.next_avail)

    cdef int give(self, Chain chain, u32 written) except -1:
        cdef u8* entry = self.device + 4 + 8 * (self.next_used % self.size)
        blocks.invalidate(self.m, <u64>(entry - self.m.ram), 8)
        (<u32*>entry)[0] = chain.head
        (<u32*>entry)[1] = written
        self.next_used += 1
        self.put16(self.device + 2, self.next_used)
        return 0

    def should_notify(self):
        cdef u16 old = self.signalled
        cdef bint valid = self.signalled_valid
        self.ready()
        if self.on_empty and not self.in_flight and self.avail_idx() == self.next_avail:
            return True
        if not self.event_idx:
            return not (<u16*>self.driver)[0] & AVAIL_NO_INTERRUPT
        self.signalled = self.next_used
        self.signalled_valid = 1
        return not valid or event_passed((<u16*>(self.driver + 4 + 2 * self.size))[0], self.next_used, old)

    def suppress(self, bint on):
        self.ready()
        if self.event_idx:
            # An event index half the number space away is not reached; the right one is set with the next take().
            self.put16(self.device + 4 + 8 * self.size, self.next_avail + (0x8000 if on else 0))
        else:
            self.put16(self.device, USED_NO_NOTIFY if on else 0)


cdef class PackedRing(Ring):
    """One descriptor ring that both sides write, and two event suppression structures (2.8)."""

    cdef int locate(self) except -1:
        self.desc = self.area(self.desc_pa, 16 * <u64>self.size, "the descriptor ring")
        self.driver = self.area(self.driver_pa, 4, "the driver's event structure")
        self.device = self.area(self.device_pa, 4, "the device's event structure")
        return 0

    cdef inline bint available(self) noexcept:
        cdef u16 flags = (<PackedDesc*>self.desc)[self.next_avail].flags
        return ((flags & PACKED_AVAIL) != 0) == self.avail_wrap and ((flags & PACKED_USED) != 0) != self.avail_wrap

    @property
    def pending(self):
        self.ready()
        return bool(self.available())

    cdef Chain take(self):
        cdef Chain chain
        cdef u32 at = self.next_avail, count = 0
        cdef PackedDesc d
        if not self.available():
            return None
        chain = self.new_chain()
        while True:
            if count >= self.size:
                raise RingError("a chain that loops")
            d = (<PackedDesc*>self.desc)[at]
            if d.flags & DESC_INDIRECT:
                if not self.indirect:
                    raise RingError("an indirect table that was not negotiated")
                if d.flags & DESC_NEXT or count:
                    raise RingError("an indirect table inside a chain")
                self.add_table(chain, d.addr, d.len, 1)
            else:
                chain.add(d.addr, d.len, (d.flags & DESC_WRITE) != 0)
            count += 1
            at += 1
            if at >= self.size:
                at = 0
            if not d.flags & DESC_NEXT:
                break
        if d.id >= self.size:
            raise RingError(f"buffer id {d.id} in a queue of {self.size}")
        chain.head = d.id           # the last descriptor's (2.8.6)
        chain.slots = count
        self.move_avail(count)
        self.in_flight += 1
        self.ask()
        return chain

    cdef void move_avail(self, u32 count) noexcept:
        cdef u32 at = self.next_avail + count
        if at >= self.size:
            at -= self.size
            self.avail_wrap = not self.avail_wrap
        self.next_avail = at

    cdef void ask(self) noexcept:
        """With event indexes: notify when the next descriptor is made available."""
        if self.event_idx:
            self.put16(self.device, self.next_avail | (0x8000 if self.avail_wrap else 0))

    cdef void untake(self, Chain chain) noexcept:
        if self.next_avail >= chain.slots:
            self.next_avail -= chain.slots
        else:
            self.next_avail += self.size - chain.slots
            self.avail_wrap = not self.avail_wrap
        self.ask()

    cdef int give(self, Chain chain, u32 written) except -1:
        cdef PackedDesc* d = &(<PackedDesc*>self.desc)[self.next_used]
        cdef u32 at
        blocks.invalidate(self.m, <u64>(<u8*>d - self.m.ram), 16)
        d.id = chain.head
        d.len = written
        d.flags = (PACKED_AVAIL | PACKED_USED if self.used_wrap else 0) | (DESC_WRITE if written else 0)
        at = self.next_used + chain.slots
        if at >= self.size:
            at -= self.size
            self.used_wrap = not self.used_wrap
            self.signalled_valid = 0
        self.next_used = at
        return 0

    def should_notify(self):
        cdef u16 old = self.signalled
        cdef bint valid = self.signalled_valid
        cdef u16 event, flags
        self.ready()
        event = (<u16*>self.driver)[0]
        flags = (<u16*>self.driver)[1] & 3
        self.signalled = self.next_used
        self.signalled_valid = 1
        if flags == EVENT_DISABLE:
            return False
        if flags != EVENT_DESC or not valid or not self.event_idx:
            return True
        if (event >> 15) != self.used_wrap:
            event = <u16>((event & 0x7FFF) - self.size)
        else:
            event &= 0x7FFF
        return bool(event_passed(event, self.next_used, old))

    def suppress(self, bint on):
        self.ready()
        if on:
            self.put16(self.device + 2, EVENT_DISABLE)
        elif self.event_idx:
            self.ask()
            self.put16(self.device + 2, EVENT_DESC)
        else:
            self.put16(self.device + 2, 0)
