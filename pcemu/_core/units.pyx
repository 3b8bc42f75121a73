"""Which blocks are compiled together: those that mostly follow one another in a page, calls and returns among them, and loops.

jit.pyx explains the whole.
"""
from pcemu._core.emit cimport *
from pcemu._core.operands cimport variants
from pcemu._core cimport blocks


cdef struct Frame:      # a call in a unit
    u32 back            # where it returns to: place in the page
    int first           # the called block's number
    Block* target


cdef struct Trace:      # while a unit's blocks are chosen
    int n_frames
    Frame frames[8]
    int depth[20]       # of each block: the frame it runs in


cdef bint repeats(J* j, Trace* x, Block* t) noexcept nogil:
    """Has t run in the present call already, or is it that of a frame?"""
    cdef int i
    for i in range(x.frames[x.n_frames].first, j.n_unit):
        if j.unit[i] == t and x.depth[i] == x.n_frames:
            return 1
    for i in range(x.n_frames + 1):
        if x.frames[i].target == t:
            return 1
    return 0


cdef Block* follower(J* j, Trace* x, Block* b, int* slot) noexcept nogil:
    """The block that mostly runs after b, if it may belong to the unit, or the unit's head; slot: what leads there."""
    cdef Op* last = &b.ops[b.n_ops - 1]
    cdef EmitRow r = emit_rows[last.jit >> 48]
    cdef Block* t
    cdef Block* best = NULL
    cdef u64 page = b.addr & ~<u64>4095
    cdef u32 heat, most = j.head.heat >> 2
    cdef int k
    cdef bint wide = r.size == 1 and b.mode & M_CODE_MASK != M_CODE16      # cut to 16 bits: the handler's
    cdef s64 to[3]
    to[0] = to[1] = to[2] = -1
    if not last.props & OP_END or r.cls == E_TIME or r.cls == E_STRING:
        to[0] = <s64>(b.addr & 4095) + <s64>b.nbytes
    elif wide:
        return NULL
    elif r.cls == E_JCC or r.cls == E_LOOP:
        to[0] = <s64>(b.addr & 4095) + <s64>b.nbytes
        to[1] = <s64>(b.addr & 4095) + <s64>last.imm
    elif r.cls == E_JMP or r.cls == E_CALL and x.n_frames < 7:
        to[1] = <s64>(b.addr & 4095) + <s64>last.imm
    elif r.cls == E_RET and x.n_frames:
        to[NEXT_GUESS] = x.frames[x.n_frames].back
    elif r.cls == E_RET or r.cls == E_JMPI and not (r.form == FORM_M and last.am == AM_GENERAL and last.base == R_PC):
        if b.chain1 is not NULL and b.chain1.addr & ~<u64>4095 == page:
            to[NEXT_GUESS] = b.chain1.addr & 4095
    for k in range(3):
        if to[k] < 0 or to[k] > 4095:
            continue
        t = b.chain1 if k == 1 else b.chain0 if k == 0 else NULL
        if t is NULL or t.n == N_DEAD:
            t = blocks.find_block(j.c.m, page + <u64>to[k], b.mode)
        if t is NULL or t.n == N_DEAD or t.cross or t.mode != b.mode or t.addr != page + <u64>to[k]:
            continue
        heat = j.c.m.heat if t.entry is not NULL else t.count
        if t == j.head:
            heat = ~<u32>0              # round the loop: branches that close one are mostly taken
        elif repeats(j, x, t):
            heat = 0
        if heat > most:
            most = heat
            best = t
            slot[0] = k
    if best is not NULL and (r.cls == E_CALL or r.cls == E_JMPI and r.sub == 1) and x.n_frames < 7:
        x.n_frames += 1
        x.frames[x.n_frames].back = <u32>(b.addr & 4095) + b.nbytes
        x.frames[x.n_frames].first = j.n_unit
        x.frames[x.n_frames].target = best
    elif best is not NULL and r.cls == E_RET and x.n_frames:
        x.n_frames -= 1
    return best


cdef void add_block(J* j, Block* b) noexcept nogil:
    cdef int i
    for i in range(<int>b.n):
        j.ops[j.n + i] = &b.ops[b.n_ops - b.n + i]
        j.boffs[j.n + i] = b.addr & 4095
    j.n += b.n
    j.unit[j.n_unit] = b
    j.slots[j.n_unit] = -1
    j.n_unit += 1


cdef void gather(J* j, Block* b, int most, bint loops) noexcept nogil:
    """Which blocks (at most `most`) are compiled together, beginning with b. A loop is unrolled: its first round, entered with the
    flags and vector registers in the Cpu, then a round or more to which the last one goes back, with what the first one left."""
    cdef Block* t = b
    cdef Trace x
    cdef int k, n_round, rounds
    x.n_frames = 0
    x.frames[0].first = 0
    x.frames[0].target = NULL
    j.head = b
    j.n = j.n_unit = 0
    j.loop = 0
    j.variant = 0
    while 1:
        x.depth[j.n_unit] = x.n_frames
        add_block(j, t)
        if j.n_unit == most or b.cross:
            break
        k = -1
        t = follower(j, &x, t, &k)
        if t is NULL:
            break
        if t == b:
            if not loops or not j.ops[j.n - 1].props & OP_END:
                break
            j.slots[j.n_unit - 1] = k
            j.loop = 1
            break
        if j.n + t.n > UNIT_OPS:
            break
        j.slots[j.n_unit - 1] = k
    j.n1 = j.n
    if j.loop:
        n_round = j.n_unit
        rounds = LOOP_OPS // j.n
        if rounds > MAX_ROUNDS:
            rounds = MAX_ROUNDS
        if rounds > MAX_BLOCKS // n_round:
            rounds = MAX_BLOCKS // n_round
        if rounds < 2:
            rounds = 2
        j.variant = variants(j, j.n)
        for k in range(n_round, rounds * n_round):
            add_block(j, j.unit[k - n_round])
            j.slots[k] = j.slots[k - n_round]
