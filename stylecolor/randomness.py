"""Random numbers that depend on a key alone: not on the device, the batch, the process or what was drawn before.

A counter-based generator in the spirit of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011): each number is a hash of
(key, purpose, counter), computed on the device without a host synchronisation. The hash is the 32-bit finalizer of MurmurHash3, applied
in rounds; it is meant for sampling, not for secrets.
"""

import hashlib
import math

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

_LOW_32_BITS = 0xFFFFFFFF
_KEY_BITS = 62


def make_key(*parts: object) -> int:
    """A non-negative 62-bit key from anything that prints the same every time, such as (seed, epoch, picture id)."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(errors="surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> (64 - _KEY_BITS)


def fraction(*parts: object) -> float:
    """A number in [0, 1) that depends on the parts alone."""
    return make_key(*parts) / 2**_KEY_BITS


def picture_keys(pictures: UInt8[Tensor, "batch channels height width"]) -> Int64[Tensor, " batch"]:
    """One key for each picture, from its 8-bit pixels alone."""
    pixels = pictures.flatten(1).to(torch.int64)
    position = torch.arange(pixels.shape[1], device=pixels.device)
    return (_mix(pixels + _mix(position)) * (2 * position + 1)).sum(dim=1) & (2**_KEY_BITS - 1)


def uniform(keys: Int64[Tensor, " batch"], purpose: str, shape: tuple[int, ...]) -> Float[Tensor, "batch ..."]:
    """Numbers in (0, 1), float32, shape (batch, *shape); sample i depends on keys[i], the purpose and the position alone."""
    counter = torch.arange(math.prod(shape), device=keys.device)
    keys = keys ^ make_key(purpose)
    low = (keys & _LOW_32_BITS).unsqueeze(1)
    high = (keys >> 32).unsqueeze(1)
    bits = _mix(_mix(_mix(counter) ^ low) ^ high)
    # 24 bits are what float32 holds exactly; the half step keeps 0 and 1 out
    numbers = ((bits >> 8).to(torch.float32) + 0.5) / 2**24
    return numbers.reshape(keys.shape[0], *shape)


def normal(keys: Int64[Tensor, " batch"], purpose: str, shape: tuple[int, ...]) -> Float[Tensor, "batch ..."]:
    """Standard normal numbers (Box-Muller), float32, shape (batch, *shape)."""
    radius = (-2 * uniform(keys, f"{purpose}/radius", shape).log()).sqrt()
    return radius * (2 * math.pi * uniform(keys, f"{purpose}/angle", shape)).cos()


def _mix(value: Tensor) -> Tensor:
    """MurmurHash3's 32-bit finalizer on the low 32 bits of int64 values (products wrap, their low 32 bits stay right)."""
    value = value & _LOW_32_BITS
    value = value ^ (value >> 16)
    value = (value * 0x85EBCA6B) & _LOW_32_BITS
    value = value ^ (value >> 13)
    value = (value * 0xC2B2AE35) & _LOW_32_BITS
    return value ^ (value >> 16)
