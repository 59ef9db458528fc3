# cython: language_level=3, cdivision=True
"""`transforms.murmur2` in C: forty times as fast, so nothing need be remembered."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t

cdef uint32_t _M = 0x5BD1E995


cdef uint32_t _hash(bytes key):
    cdef const unsigned char *data = <const unsigned char *>PyBytes_AS_STRING(key)
    cdef Py_ssize_t length = PyBytes_GET_SIZE(key), at
    cdef uint32_t h = 0x9747B28CU ^ <uint32_t>length, k
    for at in range(0, length - 3, 4):
        k = data[at] | data[at + 1] << 8 | data[at + 2] << 16 | <uint32_t>data[at + 3] << 24
        k *= _M
        k ^= k >> 24
        h = h * _M ^ k * _M
    at = length & ~3
    if length & 3:
        k = data[at]
        if length & 3 > 1:
            k |= data[at + 1] << 8
        if length & 3 > 2:
            k |= data[at + 2] << 16
        h = (h ^ k) * _M
    h = (h ^ h >> 13) * _M
    return h ^ h >> 15


def murmur2(bytes key not None):
    return _hash(key)


def partition_of(bytes key not None, uint32_t partitions):
    return (_hash(key) & 0x7FFFFFFF) % partitions
