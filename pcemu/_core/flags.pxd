"""The guest's flags, in compiled code (flags.pyx)."""
from pcemu._core.emit cimport *

cdef Loc loc_g(int g) noexcept nogil
cdef Loc loc_imm(s64 v) noexcept nogil
cdef Loc loc_env() noexcept nogil
cdef Loc loc_none() noexcept nogil
cdef Loc loc_shift(int sz, u32 sub, u32 count) noexcept nogil
cdef Loc loc_overflow() noexcept nogil
cdef void set_node(J* j, u32 type_, u32 kind, int sz, Loc res, Loc src, int prior, int host) noexcept nogil
cdef void set_dead(J* j) noexcept nogil
cdef void set_env(J* j, int host) noexcept nogil
cdef void set_host_all(J* j) noexcept nogil
cdef bint refers(J* j, int node, int g) noexcept nogil
cdef bint same_flags(J* j, int a, int b) noexcept nogil
cdef void alu_loc(J* j, int sz, u32 sub, int dst, Loc* l, int at) noexcept nogil
cdef void st_sx(J* j, int sz, int reg) noexcept nogil
cdef void st_res(J* j, int sz, Loc* l) noexcept nogil
cdef void st_src(J* j, int sz, Loc* l) noexcept nogil
cdef void st_kind(J* j, u32 kind) noexcept nogil
cdef void node_cf(J* j, int node) noexcept nogil
cdef void write_flags(J* j, int node) noexcept nogil
cdef void sync(J* j) noexcept nogil
cdef void home(J* j) noexcept nogil
cdef void detach(J* j) noexcept nogil
cdef void spare(J* j) noexcept nogil
cdef void will_write(J* j, int g, u32 defs) noexcept nogil
cdef void want(J* j, u32 cc) noexcept nogil
