# cython: language_level=3
cdef class Context:
    cdef public Shard _shard
    cdef public list _emitted
    cdef public Py_ssize_t _index
    cdef public object _key, _raw, _partitions, partition, _counted, shared, clock, at, offset, version, _value, _run

cdef class Run:
    cdef public object events, first, keys, times, value

cdef class Shard:
    cdef public object processor, source, partitions, decode, dead_letters, offset, clock, version, shared, counts, checksum, _last
    cdef public dict entities, deadlines, marks, prevs
    cdef public list _heap
    cdef public Context _context
    cpdef set_deadline(self, key, name, at)
    cpdef clear_deadline(self, key, name)
    cpdef emit_step(self, record, emitted, event=*)
    cpdef follow(self, target, position)
    cpdef _count(self, where)
    cpdef _fire(self, context)
    cpdef _forget(self, key)
    cpdef _is_repeat(self, origin)
