"""Eviction policies as their papers have them: plain Python, one victim at a time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Item:
    nbytes: int
    cost_a_byte: float
    used: int
    hits: int = 0
    visited: bool = False
    worth: float = 0.0


class PlainCache:
    """What all share: room is made one victim at a time; what is too large is not kept."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        #: In order of insertion, the oldest first.
        self.items: dict[int, Item] = {}

    def request(self, name: int, nbytes: int, cost_a_byte: float, now: int) -> bool:
        if name in self.items:
            item = self.items[name]
            item.used, item.hits, item.visited = now, item.hits + 1, True
            self.used_or_new(item)
            return True
        if nbytes <= self.bytes_max:
            while nbytes + sum(item.nbytes for item in self.items.values()) > self.bytes_max:
                victim = self.victim()
                del self.items[victim]
            item = Item(nbytes, cost_a_byte, now)
            self.used_or_new(item)
            self.items[name] = item
        return False

    def used_or_new(self, item: Item) -> None:
        pass

    def victim(self) -> int:
        raise NotImplementedError


class PlainLru(PlainCache):
    def victim(self) -> int:
        return min(self.items, key=lambda name: self.items[name].used)


class PlainLfu(PlainCache):
    def victim(self) -> int:
        return min(self.items, key=lambda name: (self.items[name].hits, self.items[name].used))


class PlainSieve(PlainCache):
    """Figure 2 of the paper, with a list in place of its links; the head is the newest."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(bytes_max)
        self.hand: int | None = None

    def victim(self) -> int:
        oldest_first = list(self.items)
        at = oldest_first.index(self.hand) if self.hand is not None else 0
        while self.items[oldest_first[at]].visited:
            self.items[oldest_first[at]].visited = False
            at = (at + 1) % len(oldest_first)
        self.hand = oldest_first[at + 1] if at + 1 < len(oldest_first) else None
        return oldest_first[at]


class PlainGdsf(PlainCache):
    """Worth = inflation + uses x cost / size, written at each use; equal ones by name."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(bytes_max)
        self.inflation = 0.0

    def used_or_new(self, item: Item) -> None:
        item.worth = self.inflation + (item.hits + 1) * item.cost_a_byte

    def victim(self) -> int:
        name = min(self.items, key=lambda name: (self.items[name].worth, name))
        self.inflation = self.items[name].worth
        return name


PLAIN_POLICIES: dict[str, type[PlainCache]] = {
    "lru": PlainLru,
    "lfu": PlainLfu,
    "sieve": PlainSieve,
    "gdsf": PlainGdsf,
}
