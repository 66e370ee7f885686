"""Shares of cohorts on the devices of this process."""

# Tested in tests/accelerator/test_pjrt_context.py.

import concurrent.futures
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fedrec_tff.accelerator.worker import blocks, descriptions, secure_slots
from fedrec_tff.accelerator.worker.programs import Program

Fields = dict[str, Any]
Arrays = list[np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class _Form:
    """A computation's programs for clients of one shape.

    Attributes:
      program: The program over a block.
      zero: Leaves of the accumulator's zero.
      slots: Secure sums that are added up here.
      num_rows: Number of rows of a block.
    """

    program: blocks.BlockProgram
    zero: Arrays
    slots: tuple[secure_slots.Slot, ...]
    num_rows: int

    def create_totals(self) -> blocks.Totals:
        """Totals of nobody: copies, since totals are used up."""
        zeros = [np.zeros(slot.shape, np.int64) for slot in self.slots]
        return blocks.Totals(
            [leaf.copy() for leaf in self.zero], zeros, np.int64(secure_slots.NOWHERE)
        )


class ShareRunner:
    """What stays from message to message, and what answers each kind.

    Attributes:
      devices: The devices; share after share goes to the next of them.
    """

    def __init__(self, devices: Sequence[jax.Device]) -> None:
        """Initialises the runner; compiles nothing yet."""
        self.devices = list(devices)
        self._forms: dict[str, _Form] = {}
        # By key, on each device that needed it so far.
        self._tables: dict[str, list[jax.Array | None]] = {}
        self._host_tables: dict[str, np.ndarray] = {}
        self._prepared: list[list[jax.Array]] = []
        self._pool = concurrent.futures.ThreadPoolExecutor(len(self.devices))

    def take_form(self, fields: Fields, arrays: Arrays) -> tuple[Fields, Arrays]:
        """Programs of a computation: `work` and `accumulate`, and the accumulator's zero."""
        work, accumulate, *zero = arrays
        slots = tuple(
            secure_slots.Slot(tuple(slot["shape"]), slot["max_input"], slot["modulus"])
            for slot in fields["slots"]
        )
        options = blocks.BlockOptions(
            fields["num_updates"], slots, fields["sums_in_the_clear"], fields["is_batched"]
        )
        program = blocks.BlockProgram(
            Program(work.tobytes()), Program(accumulate.tobytes()), options
        )
        mine = slots if fields["sums_in_the_clear"] else ()
        self._forms[fields["key"]] = _Form(program, zero, mine, fields["num_rows"])
        return {}, []

    def take_table(self, fields: Fields, arrays: Arrays) -> tuple[Fields, Arrays]:
        """A table whose rows clients' data are."""
        (self._host_tables[fields["key"]],) = arrays
        self._tables[fields["key"]] = [None] * len(self.devices)
        return {}, []

    def take_prepared(self, fields: Fields, arrays: Arrays) -> tuple[Fields, Arrays]:
        """What the server sends to every client of the round, to every device once."""
        self._prepared = [
            [jax.device_put(array, device) for array in arrays] for device in self.devices
        ]
        return {}, []

    def take_round(self, fields: Fields, arrays: Arrays) -> tuple[Fields, Arrays]:
        """Shares of a cohort: what they add up to, in their order.

        For each share: the accumulator's leaves, the secure sums and the first invalid position;
        then, for each of its blocks where sums are not in the clear, the integers of each slot.
        """
        remaining = iter(arrays)
        shares = [
            [(block, [next(remaining) for _ in range(block["num_arrays"])]) for block in share]
            for share in fields["shares"]
        ]
        futures = [
            self._pool.submit(self._run_share, share, index % len(self.devices))
            for index, share in enumerate(shares)
        ]
        # All of them, even if one fails: none may run on into the next message.
        concurrent.futures.wait(futures)
        results = [future.result() for future in futures]
        sizes = [len(result) for result in results]
        forms = {block["form"] for share in fields["shares"] for block in share}
        reasons = {self._forms[key].program.reason for key in forms} - {None}
        answer = {"sizes": sizes, "reasons": sorted(reasons)}
        return answer, [array for result in results for array in result]

    def take_describe(self, fields: Fields, arrays: Arrays) -> tuple[Fields, Arrays]:
        """What XLA makes of a form's program, for the first device here or for one elsewhere.

        `target` is None or what `descriptions.find_absent_device` takes. The arrays are a block:
        the clients' leaves, their keys, their positions. With `is_timed`, it is also run here.
        """
        form = self._forms[fields["form"]]
        named = {"tables": [None] * (len(arrays) - 2), "num_clients": len(arrays[-1])}
        block = self._load(named, iter(arrays), form.num_rows, 0)
        zero, prepared, device = form.create_totals(), self._prepared[0], self.devices[0]
        target = fields["target"]
        described = descriptions.describe(
            form.program,
            zero,
            block,
            prepared,
            device if target is None else descriptions.find_absent_device(**target),
        )
        answer = {name: value for name, value in vars(described).items() if name != "text"}
        if fields["is_timed"]:
            seconds = descriptions.time_block(form.program, zero, block, prepared, device)
            answer |= {"block_seconds": seconds, "rates": descriptions.measure_rates(device)}
        return answer, [np.frombuffer(described.text.encode(), np.uint8)]

    def _run_share(self, share: Sequence[tuple[Fields, Arrays]], index: int) -> Arrays:
        device, prepared = self.devices[index], self._prepared[index]
        form = self._forms[share[0][0]["form"]]
        totals = jax.device_put(form.create_totals(), device)
        left = []
        for fields, arrays in share:
            form = self._forms[fields["form"]]
            block = self._load(fields, iter(arrays), form.num_rows, index)
            totals, integers = form.program.run(totals, block, prepared)
            left += [(values, fields["num_clients"]) for values in integers]
        sums = [*totals.accumulator, *totals.secure_sums, totals.invalid]
        integers = [np.asarray(values)[:size] for values, size in left]
        return [*(np.asarray(array) for array in sums), *integers]

    def _load(
        self, fields: Fields, arrays: Iterator[np.ndarray], num_rows: int, index: int
    ) -> blocks.Block:
        """A block on its device: rows of tables are gathered there, all else comes along."""
        leaves = []
        for key in fields["tables"]:
            array = next(arrays)
            if key is None:
                leaves.append(_pad(array, num_rows))
            else:
                leaves.append(_take_rows(self._table(key, index), _pad(array, num_rows)))
        keys, positions = (_pad(next(arrays), num_rows) for _ in range(2))
        return blocks.Block(
            *jax.device_put(
                (leaves, keys, positions, np.int32(fields["num_clients"])), self.devices[index]
            )
        )

    def _table(self, key: str, index: int) -> jax.Array:
        if self._tables[key][index] is None:
            self._tables[key][index] = jax.device_put(self._host_tables[key], self.devices[index])
        return self._tables[key][index]


@jax.jit
def _take_rows(table: jax.Array, rows: jax.Array) -> jax.Array:
    return jnp.take(table, rows, axis=0)


def _pad(array: np.ndarray, num_rows: int) -> np.ndarray:
    """A full block; what is in rows without a client makes no difference."""
    padded = np.zeros([num_rows, *array.shape[1:]], array.dtype)
    padded[: len(array)] = array
    return padded
