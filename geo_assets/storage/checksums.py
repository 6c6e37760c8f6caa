"""Checksums of chips as multihashes: STAC's ``file:checksum``, whose prefix names the algorithm.

https://github.com/multiformats/multihash; prefixes are algorithm and bytes of digest, as in
https://github.com/multiformats/multicodec/blob/master/table.csv. What is stored is compared by the
algorithm of its own checksum, so that a format may change its algorithm.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from xxhash import xxh3_128_hexdigest

if TYPE_CHECKING:
    from collections.abc import Callable

SHA256 = "1220"
"""Prefix of a SHA-256: 0x12, 32 bytes."""
XXH3_128 = "e4e70210"
"""Prefix of an XXH3 of 128 bits: 0xb3e4 (as a varint), 16 bytes."""


def sha256(payload: bytes) -> str:
    """Return the SHA-256 of bytes as multihash: for files, which others compare by common tools."""
    return SHA256 + hashlib.sha256(payload).hexdigest()


def xxh3_128(payload: bytes) -> str:
    """Return the XXH3 (128 bits) of bytes as multihash.

    It tells damage and change as surely and takes an eighth of the time. It is no proof against
    forgery, and few tools know it: for what this package alone reads by its place.
    """
    return XXH3_128 + xxh3_128_hexdigest(payload)


_HASHES: dict[str, Callable[[bytes], str]] = {SHA256: sha256, XXH3_128: xxh3_128}


def agrees(payload: bytes, checksum: str | None) -> bool:
    """Whether bytes have a checksum, by its own algorithm; never where that is not known here."""
    known = (of for prefix, of in _HASHES.items() if checksum and checksum.startswith(prefix))
    return any(checksum_of(payload) == checksum for checksum_of in known)
