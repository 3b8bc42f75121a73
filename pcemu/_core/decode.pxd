"""Guest bytes to ops (decode.pyx)."""
from pcemu._core.state cimport *

cdef enum:
    DEC_MORE = -1       # the instruction continues beyond the bytes given

cdef void add_handler(const char* name, OpFn fn) noexcept nogil    # given to every family's register_handlers()
# Decode one instruction whose bytes start at p (avail of them readable, at most 15 used) into op.
# Returns its length, or DEC_MORE. What is not an instruction becomes an op that raises the fault (length 1 or more).
cdef int decode(Cpu* c, u32 mode, const u8* p, u32 avail, u32 pcoff, Op* op) noexcept nogil
cdef void set_limit_op(Op* op) noexcept nogil
cdef void set_exit_op(Op* op, u32 pcoff) noexcept nogil
cdef str handler_name(int n)              # "op_..." of the table's number
