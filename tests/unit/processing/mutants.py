"""Files that are almost what they say: cut off, with bytes turned over, moved, doubled or lost. By a seed, so again."""

from __future__ import annotations

import random

INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)


def mutant(content: bytes, chance: random.Random) -> bytes:
    """The content with something wrong."""
    if not content:
        return content
    how = chance.randrange(6)
    if how == 0:
        return content[: chance.randrange(len(content))]
    changed = bytearray(content)
    if how == 1:
        for _ in range(chance.choice((1, 1, 2, 8, 64))):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
    elif how == 2:
        at = chance.randrange(len(changed))
        changed[at : at + chance.choice((1, 2, 4, 8))] = bytes(chance.choices(INTERESTING, k=4))
    elif how == 3:
        start, size = chance.randrange(len(changed)), chance.randrange(1, 2 + len(changed) // 2)
        del changed[start : start + size]
    elif how == 4:
        start, size = chance.randrange(len(changed)), chance.randrange(1, 2 + min(4096, len(changed)))
        changed[chance.randrange(len(changed)) : 0] = changed[start : start + size] * chance.choice((1, 2, 20))
    else:
        for _ in range(4):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)
