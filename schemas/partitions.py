"""The partition of a key, as every Kafka client computes it: murmur2 of its bytes, made positive, modulo the count.

The hash is MurmurHash2 by Austin Appleby (public domain) with the seed of Kafka's Java client.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import compress

import numpy as np
from numpy.typing import NDArray

_SEED = 0x9747B28C
_M = 0x5BD1E995
_MASK = 0xFFFFFFFF
_POSITIVE = 0x7FFFFFFF


@lru_cache(maxsize=100_000)
def partition_of(key: str, count: int) -> int:
    """The partition of one key among `count`."""
    data = key.encode("utf-8", "surrogatepass")
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        h = (h * _M & _MASK) ^ ((k ^ (k >> 24)) * _M & _MASK)
    if length > whole:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return ((h ^ (h >> 15)) & _POSITIVE) % count


def partitions_of(keys: Sequence[str], count: int) -> NDArray[np.int64]:
    """The partitions of many keys among `count`, at once: int64, shape (len(keys),)."""
    text = "".join(keys)
    lengths = list(map(len, keys))
    if text.isascii():
        encoded, data = None, text.encode("ascii")
    else:
        encoded = [key.encode("utf-8", "surrogatepass") for key in keys]
        lengths, data = list(map(len, encoded)), b""
    sizes = set(lengths)
    if len(sizes) == 1:  # pseudonyms are all of one length
        size = sizes.pop()
        hashes = _murmur2(data if encoded is None else b"".join(encoded), len(keys), size)
        return ((hashes & np.uint32(_POSITIVE)) % np.uint32(count)).astype(np.int64)
    if encoded is None:
        encoded = [key.encode("ascii") for key in keys]
    found = np.empty(len(keys), np.uint32)
    all_lengths = np.array(lengths, np.int64)
    for size in sizes:
        where = all_lengths == size
        group = list(compress(encoded, where.tolist()))
        found[where] = _murmur2(b"".join(group), len(group), size)
    return ((found & np.uint32(_POSITIVE)) % np.uint32(count)).astype(np.int64)


def _murmur2(data: bytes, count: int, length: int) -> NDArray[np.uint32]:
    """The hashes of `count` keys of `length` bytes each, laid end to end. uint32 arithmetic wraps, as it should."""
    keys = np.frombuffer(data, np.uint8).reshape(count, length)
    m = np.uint32(_M)
    h = np.full(count, (_SEED ^ length) & _MASK, np.uint32)
    words = length // 4
    if words:
        columns = np.ascontiguousarray(np.ascontiguousarray(keys[:, : words * 4]).view("<u4").T).astype(np.uint32)
        columns *= m
        columns ^= columns >> np.uint32(24)
        columns *= m
        for column in columns:
            h *= m
            h ^= column
    if length % 4:
        for index in range(words * 4, length):
            h ^= keys[:, index].astype(np.uint32) << np.uint32(8 * (index - words * 4))
        h *= m
    h ^= h >> np.uint32(13)
    h *= m
    h ^= h >> np.uint32(15)
    return h
