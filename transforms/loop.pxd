# Types for the C compiler: see native.py.
cimport cython

from transforms.fold cimport Shard


cdef class _Partition:
    cdef public Py_ssize_t offset
    cdef public object clock, chunk_clock
    cdef public list encoded, shards


cdef class Loop:
    cdef public object registry, entry, ticked, hop_ms, tick_ms, chunk_records, _pending, _next_tick
    cdef public dict _encoders, _partitions, _upserts
    cdef public list _ready

    cpdef _partition(self, topic, number)
    cpdef _take(self)
    cpdef _advance(self, now)
    cpdef _tick(self, at)
    @cython.locals(encoders=dict, upserts=dict)
    cpdef _append_outputs(self, at, outputs)
    @cython.locals(partition=_Partition, encoded=list, offset=Py_ssize_t, shard=Shard)
    cpdef _append(self, at, topic, number, key, value, event, origin, headers)
    cpdef _close_chunk(self, topic, number, _Partition partition)
