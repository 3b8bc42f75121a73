"""State images: FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XSAVEC, XRSTOR, XGETBV, XSETBV (SDM vol. 1, 10.5 and chapter 13)."""
from libc.string cimport memcpy, memset

from pcemu._core.simd cimport *

cdef enum:              # state components: bits of XCR0, XSTATE_BV, the requested-feature bitmap
    X87 = 1
    SSE = 2
    AVX = 4
    # offsets in the image
    OFF_MXCSR = 24
    OFF_ST = 32
    OFF_XMM = 160
    OFF_HEADER = 512        # XSTATE_BV, XCOMP_BV, six zero words
    OFF_AVX = 576           # where the compacted form has it too: nothing lies between
    AREA = 832
    EFER_FFXSR = 1 << 14
    MXCSR_INIT = 0x1F80
cdef u64 COMPACT = <u64>1 << 63


# ------------------------------------------------------------------------------------------------- image and CPU

cdef void save_x87(Cpu* c, u8* p, bint wide) noexcept nogil:
    """Bytes 0-23 and the registers in stack order."""
    cdef int i, r
    (<u16*>p)[0] = c.fcw
    (<u16*>p)[1] = (c.fsw & 0xC7FF) | <u16>((c.ftop & 7) << 11)
    p[4] = c.ftag
    p[5] = 0
    (<u16*>p)[3] = c.fop & 0x7FF
    if wide:
        (<u64*>p)[1] = c.fip
        (<u64*>p)[2] = c.fdp
    else:
        (<u32*>p)[2] = <u32>c.fip
        (<u32*>p)[3] = c.fcs
        (<u32*>p)[4] = <u32>c.fdp
        (<u32*>p)[5] = c.fds
    for i in range(8):
        r = (c.ftop + i) & 7
        (<u64*>(p + OFF_ST))[2 * i] = c.fpr[2 * r]
        (<u64*>(p + OFF_ST))[2 * i + 1] = <u16>c.fpr[2 * r + 1]


cdef void load_x87(Cpu* c, const u8* p, bint wide) noexcept nogil:
    cdef int i, r
    c.fcw = ((<u16*>p)[0] & 0x1F3F) | 0x40
    c.fsw = (<u16*>p)[1] & 0x477F
    c.ftop = ((<u16*>p)[1] >> 11) & 7
    if c.fsw & ~c.fcw & 0x3F:           # ES and B say whether an unmasked exception is pending, whatever the image claims
        c.fsw |= 0x8080
    c.ftag = p[4]
    c.fop = (<u16*>p)[3] & 0x7FF
    if wide:
        c.fip = (<u64*>p)[1]
        c.fdp = (<u64*>p)[2]
        c.fcs = c.fds = 0
    else:
        c.fip = (<u32*>p)[2]
        c.fcs = (<u16*>p)[6]
        c.fdp = (<u32*>p)[4]
        c.fds = (<u16*>p)[10]
    for i in range(8):
        r = (c.ftop + i) & 7
        c.fpr[2 * r] = (<u64*>(p + OFF_ST))[2 * i]
        c.fpr[2 * r + 1] = (<u16*>(p + OFF_ST))[8 * i + 4]


cdef void init_x87(Cpu* c) noexcept nogil:
    c.fcw = 0x37F
    c.fsw = c.ftop = c.ftag = c.fop = c.fcs = c.fds = 0
    c.fip = c.fdp = 0
    memset(c.fpr, 0, sizeof(c.fpr))


cdef inline int n_vec(Cpu* c) noexcept nogil:
    """Vector registers that exist in this mode."""
    return 16 if c.mode & M_CODE64 else 8


cdef u64 in_use(Cpu* c) noexcept nogil:
    """XINUSE: the components that are not in their initial state."""
    cdef u64 bits = 0, high = 0, low = 0, st = 0
    cdef u64* v
    cdef int i
    for i in range(16):
        st |= c.fpr[i]
        v = <u64*>c.vec[i]
        low |= v[0] | v[1]
        high |= v[2] | v[3]
    if st | (c.fcw ^ 0x37F) | c.fsw | c.ftop | c.ftag | c.fop | c.fip | c.fdp | c.fcs | c.fds:
        bits |= X87
    if low:
        bits |= SSE
    if high:
        bits |= AVX
    return bits

# ------------------------------------------------------------------------------------------- image and memory

cdef bint put(Cpu* c, Op* op, u64 va, const u8* image, int start, int end) noexcept nogil:
    """Bytes start..end of the image to the area at va, which has been probed. A multiple of 8."""
    cdef int i
    for i in range(start, end, 8):
        if not stv64(c, op, va + i, (<u64*>(image + i))[0]):
            return 0
    return 1


cdef bint fetch(Cpu* c, Op* op, u64 va, u8* image, int end) noexcept nogil:
    cdef int i
    cdef u8* p
    if not mmu.probe_read(c, op, va, end):
        return 0
    for i in range(0, end, 16):
        p = ldv(c, op, va + i, 16)
        if p is NULL:
            return 0
        memcpy(image + i, p, 16)
    return 1


cdef bint area(Cpu* c, Op* op, int size, u64 align, int access) noexcept nogil:
    """The operand's address into c.ea; misaligned: #GP(0)."""
    if not ea(c, op, size, access):
        return 0
    if c.ea & align:
        set_exc_err(c, EXC_GP, 0)
        return 0
    return 1

# --------------------------------------------------------------------------------------------- FXSAVE, FXRSTOR

cdef inline bint with_xmm(Cpu* c) noexcept nogil:
    """FXSAVE and FXRSTOR take the vector registers along (not without CR4.OSFXSR, nor with EFER.FFXSR at CPL 0)."""
    return c.cr4 & CR4_OSFXSR and not (c.efer & EFER_FFXSR and c.cpl == 0 and c.mode & M_CODE64)


cdef bint fxsave(Cpu* c, Op* op, bint wide) noexcept nogil:
    cdef u8 image[512]
    cdef u64 va
    cdef int i, end = OFF_XMM
    if not area(c, op, 512, 15, ACC_WRITE):
        return 0
    va = c.ea
    if not mmu.probe_write(c, op, va, 512):
        return 0
    save_x87(c, image, wide)
    (<u32*>(image + OFF_MXCSR))[0] = get_mxcsr(c)
    (<u32*>(image + OFF_MXCSR))[1] = mxcsr_mask(c)
    if with_xmm(c):
        for i in range(n_vec(c)):
            memcpy(image + OFF_XMM + 16 * i, c.vec[i], 16)
        end = OFF_XMM + 16 * n_vec(c)
    elif not c.cr4 & CR4_OSFXSR:                # neither MXCSR
        return put(c, op, va, image, 0, OFF_MXCSR) and put(c, op, va, image, OFF_ST, OFF_XMM)
    return put(c, op, va, image, 0, end)


cdef bint fxrstor(Cpu* c, Op* op, bint wide) noexcept nogil:
    cdef u8 image[512]
    cdef int i
    if not area(c, op, 512, 15, ACC_READ):
        return 0
    if not fetch(c, op, c.ea, image, 512):
        return 0
    if c.cr4 & CR4_OSFXSR:
        if (<u32*>(image + OFF_MXCSR))[0] & ~mxcsr_mask(c):
            set_exc_err(c, EXC_GP, 0)
            return 0
        set_mxcsr(c, (<u32*>(image + OFF_MXCSR))[0])
    if with_xmm(c):
        for i in range(n_vec(c)):
            memcpy(c.vec[i], image + OFF_XMM + 16 * i, 16)
    load_x87(c, image, wide)
    return 1

# ------------------------------------------------------------------------------------------------ XSAVE, XRSTOR

cdef enum:
    PLAIN = 0
    OPTIMISED = 1
    COMPACTED = 2


cdef bint enabled(Cpu* c) noexcept nogil:
    """#UD without CR4.OSXSAVE, #NM with CR0.TS."""
    if not c.cr4 & CR4_OSXSAVE:
        set_exc(c, EXC_UD)
        return 0
    if c.cr0 & CR0_TS:
        set_exc(c, EXC_NM)
        return 0
    return 1


cdef inline u64 requested(Cpu* c) noexcept nogil:
    """RFBM: what EDX:EAX asks for and XCR0 enables."""
    return (<u64><u32>c.r[RDX] << 32 | <u32>c.r[RAX]) & c.xcr0


cdef bint xsave(Cpu* c, Op* op, bint wide, int form) noexcept nogil:
    cdef u8 image[AREA]
    cdef u64 rfbm, used, store, va
    cdef u8* p
    cdef int i, n = n_vec(c)
    cdef int size
    if not enabled(c):
        return 0
    rfbm = requested(c)
    size = AREA if rfbm & AVX else OFF_AVX
    if not area(c, op, size, 63, ACC_WRITE):
        return 0
    va = c.ea
    if not mmu.probe_write(c, op, va, size):
        return 0
    used = in_use(c) & rfbm
    # what is written: the plain form writes initial components too
    store = rfbm if form == PLAIN else used
    (<u32*>(image + OFF_MXCSR))[0] = get_mxcsr(c)
    (<u32*>(image + OFF_MXCSR))[1] = mxcsr_mask(c)
    if form == COMPACTED:
        if rfbm & SSE and c.mxcsr != MXCSR_INIT:
            used |= SSE
            store |= SSE
        (<u64*>(image + OFF_HEADER))[0] = used
        (<u64*>(image + OFF_HEADER))[1] = rfbm | COMPACT
    else:
        p = ldv(c, op, va + OFF_HEADER, 8)
        if p is NULL:
            return 0
        (<u64*>(image + OFF_HEADER))[0] = ((<u64*>p)[0] & ~rfbm) | used
    if store & X87:
        save_x87(c, image, wide)
        if not (put(c, op, va, image, 0, OFF_MXCSR) and put(c, op, va, image, OFF_ST, OFF_XMM)):
            return 0
    if (store & SSE) if form == COMPACTED else (rfbm & (SSE | AVX)):
        if not put(c, op, va, image, OFF_MXCSR, OFF_ST):
            return 0
    if store & SSE:
        for i in range(n):
            memcpy(image + OFF_XMM + 16 * i, c.vec[i], 16)
        if not put(c, op, va, image, OFF_XMM, OFF_XMM + 16 * n):
            return 0
    if store & AVX:
        for i in range(n):
            memcpy(image + OFF_AVX + 16 * i, &c.vec[i][16], 16)
        if not put(c, op, va, image, OFF_AVX, OFF_AVX + 16 * n):
            return 0
    return put(c, op, va, image, OFF_HEADER, OFF_HEADER + (16 if form == COMPACTED else 8))


cdef bint bad_header(Cpu* c, const u64* h) noexcept nogil:
    """Reserved bits of the XSAVE header (SDM vol. 1, 13.8): bytes 8-23 of the standard form, all but the two bitmaps of the
    compacted one."""
    cdef int i
    cdef u64 more = 0
    if not h[1] & COMPACT:
        return h[0] & ~c.xcr0 or h[1] | h[2]
    if not feature(c, FEAT_XSAVEC):
        return 1
    for i in range(2, 8):
        more |= h[i]
    return more or h[1] & ~COMPACT & ~c.xcr0 or h[0] & ~(h[1] & ~COMPACT)


cdef bint xrstor(Cpu* c, Op* op, bint wide) noexcept nogil:
    cdef u8 image[AREA]
    cdef u64 rfbm, bv
    cdef u64* header = <u64*>(image + OFF_HEADER)
    cdef bint compact
    cdef int i, n = n_vec(c)
    cdef u32 mx
    if not enabled(c):
        return 0
    rfbm = requested(c)
    if not area(c, op, OFF_AVX, 63, ACC_READ):
        return 0
    if not fetch(c, op, c.ea, image, OFF_AVX):
        return 0
    if bad_header(c, header):
        set_exc_err(c, EXC_GP, 0)
        return 0
    bv = header[0]
    compact = header[1] >> 63
    if rfbm & bv & AVX:
        if not area(c, op, AREA, 63, ACC_READ):
            return 0
        if not fetch(c, op, c.ea, image, AREA):
            return 0
    mx = (<u32*>(image + OFF_MXCSR))[0]
    if compact:                                 # MXCSR is part of the SSE component
        if rfbm & SSE and not bv & SSE:
            mx = MXCSR_INIT
        elif not rfbm & SSE:
            mx = get_mxcsr(c)
    elif not rfbm & (SSE | AVX):
        mx = get_mxcsr(c)
    if mx & ~mxcsr_mask(c):
        set_exc_err(c, EXC_GP, 0)
        return 0
    set_mxcsr(c, mx)
    if rfbm & X87:
        if bv & X87:
            load_x87(c, image, wide)
        else:
            init_x87(c)
    for i in range(n):
        if rfbm & SSE:
            if bv & SSE:
                memcpy(c.vec[i], image + OFF_XMM + 16 * i, 16)
            else:
                memset(c.vec[i], 0, 16)
        if rfbm & AVX:
            if bv & AVX:
                memcpy(&c.vec[i][16], image + OFF_AVX + 16 * i, 16)
            else:
                memset(&c.vec[i][16], 0, 16)
    return 1

# ---------------------------------------------------------------------------------------------------- handlers

include "gen/x_xsave.pxi"


cdef Op* op_xgetbv(Cpu* c, Op* op) noexcept nogil:
    """ECX = 0: XCR0; ECX = 1: XCR0 and XINUSE."""
    cdef u64 v = c.xcr0
    if not c.cr4 & CR4_OSXSAVE:
        return raise_exc(c, op, EXC_UD)
    if <u32>c.r[RCX] == 1 and feature(c, FEAT_XGETBV1):
        v &= in_use(c) | (SSE if get_mxcsr(c) != MXCSR_INIT else 0)
    elif <u32>c.r[RCX]:
        return raise_err(c, op, EXC_GP, 0)
    c.r[RAX] = <u32>v
    c.r[RDX] = v >> 32
    return nxt(c, op)


cdef Op* op_xsetbv(Cpu* c, Op* op) noexcept nogil:
    """XCR0: x87 always, AVX only with SSE."""
    cdef u64 v = <u64><u32>c.r[RDX] << 32 | <u32>c.r[RAX]
    if not c.cr4 & CR4_OSXSAVE:
        return raise_exc(c, op, EXC_UD)
    if (c.cpl or <u32>c.r[RCX] or v & ~<u64>(X87 | SSE | (AVX if feature(c, FEAT_AVX) else 0)) or not v & X87
            or v & (AVX | SSE) == AVX):
        return raise_err(c, op, EXC_GP, 0)
    c.xcr0 = v
    modes.update_mode(c)
    return leave(c, next_pc(c, op))


include "gen/x_xsave_reg.pxi"
