"""A seed from names, never from call order: order, parallelism and resume cannot change a fold.

The idea is benchopt's `get_seed` (and DomainBed's hashed seeds): every random decision is named by what it decides.
"""

from __future__ import annotations

import hashlib


def seed(*names: str | int) -> int:
    """A 63-bit seed that depends on the names alone, e.g. `seed("casme2-5", 0, "casme2/05", "init")`."""
    text = "\x1f".join(f"{type(n).__name__}:{n}" for n in names)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
