# Types for the C compiler: see native.py. What is not named here is looked up by name, as in Python.
cimport cython


cdef class Context:
    cdef public Shard _shard
    cdef public list _emitted
    cdef public Py_ssize_t _index
    cdef public object _key, _raw, _partitions, _counted, _value
    cdef public Run _run
    cdef public object partition, shared, clock, at, offset, version

    cpdef emit(self, topic, key, event)
    cpdef upsert(self, topic, key, event, version)
    cdef tuple _place(self, topic, key)


cdef class Run:
    cdef public list events, keys, origins, times
    cdef public object first, value


cdef class Shard:
    cdef public object _key, _on_event
    cdef public tuple _reads
    cdef public bint _proven, _carried
    cdef public object processor, source, partitions, decode, dead_letters
    cdef public object offset, clock, version, shared, counts, checksum, _last
    cdef public dict entities, deadlines, marks, prevs
    cdef public list _heap
    cdef public Py_ssize_t _crowded
    cdef public Context _context

    @cython.locals(names=dict)
    cpdef set_deadline(self, key, name, at)
    @cython.locals(names=dict)
    cpdef clear_deadline(self, key, name)
    cpdef _tidy(self)
    @cython.locals(emitted=list)
    cpdef step(self, record, event=*)
    @cython.locals(context=Context, entities=dict, before=Py_ssize_t)
    cpdef emit_step(self, record, list emitted, event=*)
    @cython.locals(outputs=list)
    cpdef identify(self, emitted)
    cpdef _look_ahead(self, value, event)
    cpdef follow(self, target, position)
    @cython.locals(context=Context, entities=dict, heap=list, emitted=list, caused=list, offset=Py_ssize_t,
                   applied=Py_ssize_t, end=Py_ssize_t, number=Py_ssize_t, carried=bint, proven=bint)
    cpdef fold_run(self, Run run)
    cpdef _count(self, where)
    cpdef _fire(self, Context context)
    cpdef _forget(self, key)
    cpdef _is_repeat(self, origin)
    cpdef _refuse(self, record, error, Context context, Py_ssize_t before)


@cython.locals(split=dict, lists=tuple, one=tuple, held=tuple, caused=list, written=list)
cpdef split_by_place(list times, list emitted, dict newest)
