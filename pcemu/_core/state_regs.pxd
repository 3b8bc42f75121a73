from pcemu._core.state cimport *

cdef void reset_cpu(Cpu* c, model)
cdef object state_fields(Cpu* c)
cdef object get_reg(Cpu* c, str name)
cdef void set_reg(Cpu* c, str name, value) except *
