"""Which problems a cycle visits: a pure function of (seed, cycle), so that a resumed run goes on where it was."""

import hashlib

_ROUNDS = 6


class _Permutation:
    """A keyed permutation of 0..rows-1, evaluated one place at a time: no table, whatever the size.

    A Feistel network over the next power of four permutes; places beyond the rows are walked on from until one is
    within (Black and Rogaway, Ciphers with Arbitrary Finite Domains, 2002): fewer than 4 walks on average.
    """

    def __init__(self, key: bytes, rows: int) -> None:
        self._key = hashlib.blake2b(key, digest_size=32).digest()
        self._rows = rows
        self._half_bits = max(1, (max(1, rows - 1).bit_length() + 1) // 2)

    def __getitem__(self, place: int) -> int:
        while True:
            place = self._shuffle(place)
            if place < self._rows:
                return place

    def _shuffle(self, place: int) -> int:
        mask = (1 << self._half_bits) - 1
        left, right = place >> self._half_bits, place & mask
        for number in range(_ROUNDS):
            data = number.to_bytes(1, "big") + right.to_bytes(8, "big")
            digest = hashlib.blake2b(data, digest_size=8, key=self._key).digest()
            left, right = right, left ^ (int.from_bytes(digest, "big") & mask)
        return left << self._half_bits | right


def prompts_of_cycle(seed: int, cycle: int, rows: int, count: int) -> list[int]:
    """Return the rows (0-based) that a cycle (0-based) visits, `count` of them, in order.

    All rows are visited once in an epoch, each epoch in another order; a cycle may end one epoch and begin the next.
    Costs O(count) time and no memory for any number of rows.
    """
    if seed < 0 or cycle < 0 or rows < 1 or count < 0:
        raise ValueError(f"seed {seed}, cycle {cycle}, rows {rows}, count {count}: needs rows >= 1 and no negatives")
    visited: list[int] = []
    first = cycle * count
    while len(visited) < count:
        epoch, place = divmod(first + len(visited), rows)
        permutation = _Permutation(f"prompts/{seed}/{epoch}".encode(), rows)
        stop = min(rows, place + count - len(visited))
        visited.extend(permutation[index] for index in range(place, stop))
    return visited
