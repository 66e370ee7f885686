"""The private mechanisms by name, and what each needs: all that flags must know of them.

Light, so that a wrong flag is told at once; what mechanisms cost is in `mechanisms`.
"""

# Tested in tests/config/test_run_config.py and tests/privacy/test_mechanisms.py.

from typing import Literal

from fedrec_tff.privacy import sampling

DP_GAUSSIAN = "dp_gaussian"
DP_ADAPTIVE = "dp_adaptive"
DP_TREE = "dp_tree"
DP_BANDED_MF = "dp_banded_mf"
LOCAL_GAUSSIAN = "local_gaussian"
LOCAL_LAPLACE = "local_laplace"
DDP_DISCRETE_GAUSSIAN = "ddp_discrete_gaussian"
DDP_SKELLAM = "ddp_skellam"

CENTRAL = (DP_GAUSSIAN, DP_ADAPTIVE, DP_TREE, DP_BANDED_MF)
CORRELATED = (DP_TREE, DP_BANDED_MF)
LOCAL = (LOCAL_GAUSSIAN, LOCAL_LAPLACE)
DISTRIBUTED = (DDP_DISCRETE_GAUSSIAN, DDP_SKELLAM)

_INDEPENDENT_LAWS = (sampling.POISSON, sampling.FIXED_SIZE)
# For each mechanism, the samplers under which its cost is known; the first is the default.
SAMPLINGS = {
    DP_GAUSSIAN: _INDEPENDENT_LAWS,
    DP_ADAPTIVE: _INDEPENDENT_LAWS,
    DP_TREE: (sampling.CYCLIC_POISSON,),
    DP_BANDED_MF: (sampling.CYCLIC_POISSON,),
    LOCAL_GAUSSIAN: (*_INDEPENDENT_LAWS, sampling.SHUFFLED_EPOCHS),
    LOCAL_LAPLACE: (*_INDEPENDENT_LAWS, sampling.SHUFFLED_EPOCHS),
    DDP_DISCRETE_GAUSSIAN: (sampling.SHUFFLED_EPOCHS,),
    DDP_SKELLAM: (sampling.SHUFFLED_EPOCHS,),
}
# The fields that only some mechanisms have, and need.
NEEDED_BY = {
    "min_separation": CORRELATED,
    "rounds": CORRELATED,
    "max_rounds_per_user": LOCAL,
    "num_weights": DISTRIBUTED,
    "modulus_bits": DISTRIBUTED,
}
# The fields that only some mechanisms may have.
ALLOWED_FOR = {
    "clipped_count_stddev": (DP_ADAPTIVE,),
    "tower_clip_norm": (DP_GAUSSIAN, *CORRELATED),
    "noise_cohort_size": CENTRAL,
    "noise_population_size": CENTRAL,
    "colluding_clients": DISTRIBUTED,
}

MechanismName = Literal[
    "dp_gaussian",
    "dp_adaptive",
    "dp_tree",
    "dp_banded_mf",
    "local_gaussian",
    "local_laplace",
    "ddp_discrete_gaussian",
    "ddp_skellam",
]
