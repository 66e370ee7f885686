"""Which items an attack promotes, or would: named, or cold ones that the seed chooses."""

# Tested in tests/run/test_client_simulation.py.

import math

import numpy as np

from fedrec_tff import errors
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.datasets import loading
from fedrec_tff.learning.simulation.attack_config import AttackConfig

# Keeps the targets apart from the other streams of the seed.
_STREAM = 0x7A46E7
# Of the items with any training interactions, those with the fewest.
_COLD_SHARE = 0.1


def find_targets(
    attack: AttackConfig | None, config: RunConfig, dataset: loading.LoadedDataset
) -> np.ndarray:
    """Finds the items that are promoted, or would be.

    Published attacks promote cold items: those that hardly anybody is shown. Which ones these are
    is an exact statistic of users, so under differential privacy the seed chooses among all items.

    Args:
      attack: The attack, which may name the item or say how many; None for a single cold one.
      config: The run's flags.
      dataset: The data.

    Returns:
      int64 [num_targets], indices of the items, ascending.

    Raises:
      UserError: If the named item is not in the catalogue, or there are too few.
    """
    if attack is not None and attack.target_item is not None:
        return _find_named(attack.target_item, dataset.interactions.item_ids)
    num_targets = AttackConfig.num_targets if attack is None else attack.num_targets
    pool = np.arange(dataset.split.num_items)
    if not config.is_private:
        pool = find_cold_items(dataset.split.train.items, dataset.split.num_items)
    if len(pool) < num_targets:
        raise errors.UserError(
            f"--attack_num_targets={num_targets}: there are {len(pool)} items to choose from: "
            "choose fewer"
        )
    generator = np.random.default_rng([config.seed, _STREAM])
    return np.sort(generator.choice(pool, num_targets, replace=False))


def find_cold_items(item_index: np.ndarray, num_items: int) -> np.ndarray:
    """Finds the tenth of the items that is taken least, of those that are taken at all.

    Args:
      item_index: int [n], the items of all training interactions.
      num_items: Size of the catalogue.

    Returns:
      int64 [at least 1], coldest first; of two that are as cold the smaller index first.
    """
    counts = np.bincount(item_index, minlength=num_items)
    taken = np.flatnonzero(counts)
    order = taken[np.argsort(counts[taken], kind="stable")]
    return order[: math.ceil(_COLD_SHARE * len(order))]


def _find_named(target_item: str, item_ids: np.ndarray) -> np.ndarray:
    found = np.flatnonzero(np.asarray(item_ids) == target_item)
    if not len(found):
        raise errors.UserError(
            f"--attack_target_item={target_item}: no item of the data has this id; see "
            "ids/item_ids.csv in the folder of any run of the same data"
        )
    return found[:1]
