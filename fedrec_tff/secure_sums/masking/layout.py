"""How the tensors of a sum become vectors of residues, and back.

Masks hide a number perfectly only if they are uniform over the residues that it is one of, so each
slot has its modulus:

- In a bounded sum, the smallest power of two above the largest possible sum. The sum modulo that is
  the sum.
- In a modular sum, the slot's own modulus, whatever it is. A larger one would be convenient, and
  the result could be reduced at the end, but the server would see the sum before it is reduced.
  Distributed differential privacy counts on its not seeing that.

Slots of the same modulus are one vector, a group.
"""

# Tested in tests/secure_sums/masking/test_masking_primitives.py.

import dataclasses
from collections.abc import Sequence

import numpy as np

from fedrec_tff.execution import secure_sum
from fedrec_tff.secure_sums.masking import failures

_MAX_BITS = 64
_MAX_MODULUS = int(np.iinfo(np.int64).max)


@dataclasses.dataclass(frozen=True)
class Group:
    """A vector of residues.

    Attributes:
      modulus: Modulus of the residues.
      size: Number of residues.
    """

    modulus: int
    size: int

    @property
    def bits(self) -> int:
        """The width of the largest residue."""
        return (self.modulus - 1).bit_length()

    @property
    def is_power_of_two(self) -> bool:
        """Whether unsigned integers that wrap around add correctly."""
        return self.modulus & (self.modulus - 1) == 0

    @property
    def dtype(self) -> np.dtype:
        """Unsigned; below other moduli than powers of two, two residues' sum must fit."""
        bits = self.bits if self.is_power_of_two else self.bits + 1
        return np.dtype("<u4" if bits <= 32 else "<u8")

    @property
    def num_bytes(self) -> int:
        """Of a residue on the wire."""
        return max(-(-self.bits // 8), 1)

    def reduce(self, vector: np.ndarray) -> np.ndarray:
        """The residues of a vector that was summed by wrapping around."""
        if not self.is_power_of_two:
            return vector
        return np.bitwise_and(vector, self.dtype.type(self.modulus - 1), out=vector)

    def add(self, total: np.ndarray, vector: np.ndarray) -> None:
        """Adds residues to residues, in place."""
        np.add(total, vector, out=total)
        if not self.is_power_of_two:
            # Where nothing is to be subtracted, the difference wraps around and is large.
            np.minimum(total, total - self.dtype.type(self.modulus), out=total)

    def subtract(self, total: np.ndarray, vector: np.ndarray) -> None:
        """Subtracts residues from residues, in place."""
        if self.is_power_of_two:
            np.subtract(total, vector, out=total)
        else:
            self.add(total, self.dtype.type(self.modulus) - vector)

    def to_wire(self, vector: np.ndarray) -> bytes:
        """Residues as bytes, as many each as the largest has."""
        columns = np.ascontiguousarray(vector, self.dtype).view(np.uint8)
        return columns.reshape(self.size, self.dtype.itemsize)[:, : self.num_bytes].tobytes()

    def from_wire(self, data: bytes) -> np.ndarray:
        """Bytes as residues.

        Raises:
          ProtocolError: If these are not so many residues.
        """
        if len(data) != self.size * self.num_bytes:
            raise failures.ProtocolError("a masked vector does not have the size of the sum")
        columns = np.zeros((self.size, self.dtype.itemsize), np.uint8)
        columns[:, : self.num_bytes] = np.frombuffer(data, np.uint8).reshape(self.size, -1)
        vector = columns.view(self.dtype)[:, 0]
        if self.size and int(vector.max()) >= self.modulus:
            raise failures.ProtocolError("a masked vector is not within the sum's modulus")
        return vector


@dataclasses.dataclass(frozen=True)
class Layout:
    """The vectors of a sum.

    Attributes:
      slots: Descriptions of the tensors to sum.
      groups: Vectors that the slots are put into.
      places: Place of each slot: its group, and the position where it begins in that group.
    """

    slots: tuple[secure_sum.SecureSumSlot, ...]
    groups: tuple[Group, ...]
    places: tuple[tuple[int, int], ...]

    def zeros(self) -> list[np.ndarray]:
        """Vectors of zeros."""
        return [np.zeros(group.size, group.dtype) for group in self.groups]

    def pack(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """One client's tensors as vectors of residues.

        Args:
          values: One client's integers: for each slot, int64 of its shape, within the slot's
            bounds.

        Returns:
          For each group, a new vector.
        """
        vectors = self.zeros()
        for slot, (index, begin), value in zip(self.slots, self.places, values, strict=True):
            if value.shape != slot.shape:
                raise failures.ProtocolError(
                    f"a tensor of the shape {value.shape} in a sum of {slot.shape}"
                )
            flat = value.reshape(-1)
            if slot.modulus is not None:
                flat = np.mod(flat, slot.modulus)
            vectors[index][begin : begin + flat.size] = flat
        return vectors

    def unpack(self, vectors: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Vectors of residues as tensors.

        Args:
          vectors: Vectors of residues, one for each group.

        Returns:
          For each slot, int64 of its shape.

        Raises:
          ExecutionError: If a sum does not fit.
        """
        tensors = []
        for slot, (index, begin) in zip(self.slots, self.places, strict=True):
            flat = vectors[index][begin : begin + int(np.prod(slot.shape))]
            if flat.size and int(flat.max()) > np.iinfo(np.int64).max:
                raise secure_sum.does_not_fit(np.int64)
            tensors.append(flat.astype(np.int64).reshape(slot.shape))
        return tensors


def create_layout(slots: Sequence[secure_sum.SecureSumSlot], num_parties: int) -> Layout:
    """Groups slots.

    Args:
      slots: Descriptions of the tensors to sum.
      num_parties: Number of parties that may send something.

    Returns:
      The layout.

    Raises:
      MaskingError: If sums may be larger than masks, or than an int64.
    """
    if any(slot.modulus is not None and slot.modulus > _MAX_MODULUS for slot in slots):
        raise failures.MaskingError(f"a modulus of a secure sum is above {_MAX_MODULUS}")
    moduli = [slot.modulus or _modulus(slot.max_input, num_parties) for slot in slots]
    sizes = dict.fromkeys(moduli, 0)
    starts = []
    for slot, modulus in zip(slots, moduli, strict=True):
        starts.append(sizes[modulus])
        sizes[modulus] += int(np.prod(slot.shape))
    indices = {modulus: index for index, modulus in enumerate(sizes)}
    places = zip((indices[modulus] for modulus in moduli), starts, strict=True)
    groups = tuple(Group(modulus, size) for modulus, size in sizes.items())
    return Layout(tuple(slots), groups, tuple(places))


def _modulus(max_input: int, num_parties: int) -> int:
    bits = (max_input * num_parties).bit_length()
    if bits > _MAX_BITS:
        raise failures.MaskingError(
            f"a secure sum of {num_parties} inputs of up to {max_input.bit_length()} bits: masks "
            f"have {_MAX_BITS}; choose a smaller maximum"
        )
    return 2**bits
