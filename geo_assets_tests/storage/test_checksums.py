"""A checksum says its algorithm, and bytes are compared by that."""

from __future__ import annotations

import hashlib

import pytest
import xxhash

from geo_assets.storage.checksums import agrees, sha256, xxh3_128

PAYLOAD = b"a chip"


def test_a_sha256_is_multihash_0x12_of_32_bytes():
    assert bytes.fromhex(sha256(PAYLOAD)) == b"\x12\x20" + hashlib.sha256(PAYLOAD).digest()


def test_an_xxh3_is_multihash_0xb3e4_of_16_bytes():
    # The code as an unsigned varint: seven bits a byte, lowest first.
    code = bytes([0xB3E4 & 0x7F | 0x80, 0xB3E4 >> 7 & 0x7F | 0x80, 0xB3E4 >> 14])
    found = bytes.fromhex(xxh3_128(PAYLOAD))
    assert found == code + b"\x10" + xxhash.xxh3_128(PAYLOAD).digest()


@pytest.mark.parametrize("checksum_of", [sha256, xxh3_128])
def test_bytes_agree_with_their_checksum_and_no_others_do(checksum_of):
    checksum = checksum_of(PAYLOAD)
    assert agrees(PAYLOAD, checksum)
    assert not agrees(PAYLOAD + b"s", checksum)
    assert not agrees(PAYLOAD, checksum[:-1])


@pytest.mark.parametrize("checksum", [None, "", "1220", "1114" + "0" * 40, "no checksum"])
def test_nothing_agrees_with_what_is_no_known_checksum(checksum):
    assert not agrees(PAYLOAD, checksum)
