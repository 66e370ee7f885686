"""How the tensors of a sum become rows of digits, one row for each ciphertext, and back.

A ciphertext encrypts a row of integers that are added column by column. No column's sum may reach
the scheme's capacity, over all clients. So where a slot's largest sum is small, several of its
numbers share a digit, as digits of a larger radix; where it is too large, a number is cut into
limbs whose sums fit. Either is undone exactly, because sums of digits never run over.

The first column of each row is a one: its sum says how many clients are in the row.
"""

# Tested in tests/secure_sums/encryption/test_encryption_sum.py.

import dataclasses
from collections.abc import Sequence

import numpy as np

from fedrec_tff.execution import secure_sum
from fedrec_tff.secure_sums.encryption import failures

_INT64_MAX = np.iinfo(np.int64).max


@dataclasses.dataclass(frozen=True)
class SlotPacking:
    """The digits of one slot.

    Attributes:
      slot: Description of the tensor that is summed.
      max_sum: The largest sum over all clients, before it is reduced if the sum is modular.
      numbers_per_digit: Number of numbers that share a digit.
      radix: Radix in which the numbers of a digit are put together; more than `max_sum`.
      limbs_per_number: Number of digits that a number is cut into.
      limb_bits: Bits of each digit that a number is cut into, from one client.
    """

    slot: secure_sum.SecureSumSlot
    max_sum: int
    numbers_per_digit: int = 1
    radix: int = 2
    limbs_per_number: int = 1
    limb_bits: int = 0

    @property
    def size(self) -> int:
        """How many numbers the slot has."""
        return int(np.prod(self.slot.shape))

    @property
    def num_digits(self) -> int:
        """How many digits the slot takes."""
        return -(-self.size // self.numbers_per_digit) * self.limbs_per_number

    def pack(self, value: np.ndarray) -> np.ndarray:
        """One client's numbers as digits: int64 [*shape] to int64 [num_digits]."""
        numbers = value.reshape(-1)
        if self.slot.modulus is not None:
            numbers = np.mod(numbers, self.slot.modulus)
        if self.limbs_per_number > 1:
            shifts = self.limb_bits * np.arange(self.limbs_per_number)[:, np.newaxis]
            return ((numbers >> shifts) & (2**self.limb_bits - 1)).reshape(-1)
        padded = np.zeros(self.num_digits * self.numbers_per_digit, np.int64)
        padded[: numbers.size] = numbers
        columns = padded.reshape(self.num_digits, self.numbers_per_digit)
        return columns @ self.radix ** np.arange(self.numbers_per_digit)

    def unpack(self, digits: np.ndarray) -> np.ndarray:
        """Summed digits as the slot's sums.

        Args:
          digits: int64 [num_digits], digits summed over clients.

        Returns:
          int64 [*shape], reduced if the sum is modular.

        Raises:
          ExecutionError: If a sum does not fit.
        """
        if self.limbs_per_number > 1:
            numbers = self._join_limbs(digits.reshape(self.limbs_per_number, self.size))
        else:
            weights = self.radix ** np.arange(self.numbers_per_digit)
            columns = digits[:, np.newaxis] // weights % self.radix
            numbers = columns.reshape(-1)[: self.size]
        if self.slot.modulus is not None:
            numbers = np.mod(numbers, self.slot.modulus)
        if numbers.size and int(numbers.max()) > _INT64_MAX:
            raise secure_sum.does_not_fit(np.int64)
        return numbers.astype(np.int64).reshape(self.slot.shape)

    def _join_limbs(self, limbs: np.ndarray) -> np.ndarray:
        # Python's integers, where int64 might not do.
        dtype = np.int64 if self.max_sum <= _INT64_MAX else object
        total = np.zeros(self.size, dtype)
        for index, limb in enumerate(limbs.astype(dtype)):
            total = total + limb * 2 ** (self.limb_bits * index)
        return total


@dataclasses.dataclass(frozen=True)
class Packing:
    """The rows of a sum.

    Attributes:
      slot_packings: Packing of each slot.
      num_columns: Number of columns of a row.
      num_clients: Number of clients that may be added, at most.
    """

    slot_packings: tuple[SlotPacking, ...]
    num_columns: int
    num_clients: int

    @property
    def num_rows(self) -> int:
        """How many ciphertexts a client sends."""
        num_digits = sum(packing.num_digits for packing in self.slot_packings)
        return max(-(-num_digits // (self.num_columns - 1)), 1)

    def pack(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """One client's tensors as rows.

        Args:
          values: One client's integers: for each slot, int64 of its shape, within its bounds.

        Returns:
          int64 [num_rows, num_columns].
        """
        parts = [
            packing.pack(value) for packing, value in zip(self.slot_packings, values, strict=True)
        ]
        digits = np.concatenate(parts)
        rows = np.zeros((self.num_rows, self.num_columns - 1), np.int64)
        rows.reshape(-1)[: digits.size] = digits
        return np.concatenate([np.ones((self.num_rows, 1), np.int64), rows], axis=1)

    def unpack(self, rows: np.ndarray) -> tuple[int, list[np.ndarray]]:
        """Summed rows as sums.

        Args:
          rows: int64 [num_rows, num_columns], rows summed over clients.

        Returns:
          The number of clients in the sum, and for each slot the sum.

        Raises:
          MalformedMessageError: If not all rows have the same clients, or too many.
          ExecutionError: If a sum does not fit.
        """
        counts = np.unique(rows[:, 0])
        if counts.size != 1 or not 0 <= counts[0] <= self.num_clients:
            raise failures.MalformedMessageError(
                "the ciphertexts of an encrypted sum are not all of the same clients, each once"
            )
        digits = rows[:, 1:].reshape(-1)
        tensors, begin = [], 0
        for packing in self.slot_packings:
            end = begin + packing.num_digits
            tensors.append(packing.unpack(digits[begin:end]))
            begin = end
        return int(counts[0]), tensors


def create_packing(
    slots: Sequence[secure_sum.SecureSumSlot], num_clients: int, capacity: int, num_columns: int
) -> Packing:
    """Plans the rows of a sum.

    Args:
      slots: Descriptions of the tensors to sum.
      num_clients: Number of clients, at most.
      capacity: Number that no digit's sum may reach; at most 2**62.
      num_columns: Number of digits that a ciphertext has, the count of clients included.

    Returns:
      The plan.

    Raises:
      EncryptionError: If there are too many clients for any digit.
    """
    packings = tuple(_create_slot_packing(slot, num_clients, capacity) for slot in slots)
    return Packing(packings, num_columns, num_clients)


def _create_slot_packing(
    slot: secure_sum.SecureSumSlot, num_clients: int, capacity: int
) -> SlotPacking:
    max_input = slot.max_input if slot.modulus is None else slot.modulus - 1
    max_sum = num_clients * max_input
    if max_sum < capacity:
        radix, numbers = max(max_sum + 1, 2), 1
        while radix ** (numbers + 1) <= capacity:
            numbers += 1
        return SlotPacking(slot, max_sum, numbers_per_digit=numbers, radix=radix)
    # So many bits that the sum of num_clients such limbs is below the capacity.
    limb_bits = ((capacity - 1) // num_clients + 1).bit_length() - 1
    if limb_bits < 1:
        raise failures.EncryptionError(
            f"an encrypted sum of {num_clients} clients: ciphertexts hold sums below {capacity} "
            "only; choose a smaller cohort"
        )
    limbs = -(-max_input.bit_length() // limb_bits)
    return SlotPacking(slot, max_sum, limbs_per_number=limbs, limb_bits=limb_bits)
