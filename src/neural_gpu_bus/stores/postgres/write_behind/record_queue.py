"""Where the records that wait lie, in 24 bytes each: the rows themselves stay on disk."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

#: A place is the segment's number and the position in it, in one 64-bit word.
_POSITION_BITS = 40
_POSITION_MASK = (1 << _POSITION_BITS) - 1
#: Words of one record: place, bytes, sequence.
_WORDS = 3
#: The front is cut off when it is this long and half of all.
_FRONT_WORDS_MIN = 3 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where one record lies in its journal."""

    segment: int
    position: int
    nbytes: int
    sequence: int


class RecordQueue:
    """Records of one table in one journal, oldest first. Not thread-safe."""

    def __init__(self) -> None:
        self._words = array("Q")
        self._front = 0
        self.nbytes = 0

    def __len__(self) -> int:
        return (len(self._words) - self._front) // _WORDS

    def append(self, place: Place) -> None:
        """Sequences only go up."""
        packed = place.segment << _POSITION_BITS | place.position
        self._words.extend((packed, place.nbytes, place.sequence))
        self.nbytes += place.nbytes

    def head(self, records_max: int, bytes_max: int) -> list[Place]:
        """The oldest records within the limits; the first one whatever its size."""
        places: list[Place] = []
        left = bytes_max
        for index in range(min(len(self), records_max)):
            place = self._at(index)
            left -= place.nbytes
            if places and left < 0:
                break
            places.append(place)
        return places

    def pop(self) -> Place:
        """Take the oldest one away."""
        place = self._at(0)
        self._front += _WORDS
        self.nbytes -= place.nbytes
        if self._front >= _FRONT_WORDS_MIN and 2 * self._front >= len(self._words):
            del self._words[: self._front]
            self._front = 0
        return place

    def _at(self, index: int) -> Place:
        start = self._front + index * _WORDS
        packed, nbytes, sequence = self._words[start : start + _WORDS]
        return Place(packed >> _POSITION_BITS, packed & _POSITION_MASK, nbytes, sequence)
