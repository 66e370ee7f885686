"""The aggregators and steps that come with the project, by name.

What stands here is what must be known before TensorFlow is imported.
"""

# Tested in tests/aggregators/test_chain.py.

from fedrec_tff.aggregators.aggregator import TRANSFORM, WRAPPER, Aggregator
from fedrec_tff.privacy.mechanisms import adaptive, banded, gaussian, local, shared, sparse, tree

_PACKAGE = "fedrec_tff.aggregators"

_MEANS = (
    Aggregator(
        "mean",
        "every client counts the same",
        f"{_PACKAGE}.means:build_mean",
        supports_row_sparse=True,
        keeps_aggregate=True,
    ),
    Aggregator(
        "weighted_mean",
        "clients count by their examples",
        f"{_PACKAGE}.means:build_weighted_mean",
        supports_row_sparse=True,
        keeps_aggregate=True,
        not_private_because=(
            "weights are how much a user did, and one user's weight would have to be bounded and "
            "noised too: under differential privacy everybody counts the same"
        ),
    ),
)

_PRIVATE = (
    Aggregator(
        gaussian.GAUSSIAN.name,
        "clipped to --clip_norm, Gaussian noise (DP-FedAvg)",
        f"{_PACKAGE}.dp_fedavg:build_dp_gaussian",
        is_private=True,
        supports_row_sparse=True,
        lists_noised_rows=True,
    ),
    Aggregator(
        adaptive.ADAPTIVE.name,
        "as dp_gaussian, the clip following the median update norm privately",
        f"{_PACKAGE}.dp_fedavg:build_dp_adaptive",
        is_private=True,
        supports_row_sparse=True,
    ),
    Aggregator(
        sparse.SPARSE.name,
        "as dp_gaussian, noise on the item rows alone that a noised histogram chooses",
        f"{_PACKAGE}.dp_fedavg:build_dp_sparse",
        is_private=True,
        supports_row_sparse=True,
    ),
    Aggregator(
        banded.BANDED_MF.name,
        "noise correlated over --min_separation rounds by matrix factorisation (DP-FTRL)",
        f"{_PACKAGE}.correlated_noise:build_dp_banded_mf",
        is_private=True,
        supports_row_sparse=True,
    ),
    Aggregator(
        tree.TREE.name,
        "noise of binary trees that restart within --min_separation rounds (DP-FTRL)",
        f"{_PACKAGE}.correlated_noise:build_dp_tree",
        is_private=True,
        supports_row_sparse=True,
    ),
    Aggregator(
        local.LOCAL_GAUSSIAN.name,
        "Gaussian noise on the device: private against the server too",
        f"{_PACKAGE}.local_dp:build_local_gaussian",
        is_private=True,
    ),
    Aggregator(
        local.LOCAL_LAPLACE.name,
        "Laplace noise on the device, clipped in L1",
        f"{_PACKAGE}.local_dp:build_local_laplace",
        is_private=True,
    ),
    Aggregator(
        shared.DDP_DISCRETE_GAUSSIAN.name,
        "shares of discrete Gaussian noise on devices, under a secure sum",
        f"{_PACKAGE}.distributed_dp:build_ddp_discrete_gaussian",
        is_private=True,
        uses_secure_sum=True,
    ),
    Aggregator(
        shared.DDP_SKELLAM.name,
        "shares of Skellam noise on devices, under a secure sum",
        f"{_PACKAGE}.distributed_dp:build_ddp_skellam",
        is_private=True,
        uses_secure_sum=True,
    ),
)

_SEES_ALL_UPDATES = (
    "which updates it keeps, and what it makes of them, depends on all of them, so that one user "
    "can move the result by more than a clip; nobody has analysed the sensitivity"
)
_ESTIMATES_EXACTLY = (
    "it estimates a quantile of users' norms without noise, which is a statistic of user data; "
    "dp_adaptive does so privately"
)

_ROBUST = (
    Aggregator(
        "median",
        "robust: the median of each coordinate",
        f"{_PACKAGE}.robust.coordinate_wise:build_median",
        supports_row_sparse=True,
        not_private_because=_SEES_ALL_UPDATES,
        excludes_non_finite=True,
    ),
    Aggregator(
        "trimmed_mean",
        "robust: the mean of each coordinate without its extremes",
        f"{_PACKAGE}.robust.coordinate_wise:build_trimmed_mean",
        supports_row_sparse=True,
        not_private_because=_SEES_ALL_UPDATES,
        excludes_non_finite=True,
    ),
    Aggregator(
        "krum",
        "robust: the update that is nearest to its neighbours",
        f"{_PACKAGE}.robust.krum:build_krum",
        supports_row_sparse=True,
        not_private_because=_SEES_ALL_UPDATES,
        excludes_non_finite=True,
    ),
    Aggregator(
        "multi_krum",
        "robust: the mean of the updates that are nearest to their neighbours",
        f"{_PACKAGE}.robust.krum:build_multi_krum",
        supports_row_sparse=True,
        not_private_because=_SEES_ALL_UPDATES,
        excludes_non_finite=True,
    ),
    Aggregator(
        "geometric_median",
        "robust: the geometric median of the updates (RFA)",
        f"{_PACKAGE}.robust.geometric_median:build_geometric_median",
        supports_row_sparse=True,
        not_private_because=_SEES_ALL_UPDATES,
        excludes_non_finite=True,
    ),
    Aggregator(
        "centered_clip",
        "robust: a mean of updates clipped around the last aggregate",
        f"{_PACKAGE}.robust.centered_clipping:build_centered_clip",
        supports_row_sparse=True,
        uses_clip_norm=True,
        not_private_because=(
            "its clip moves with the rounds and adds no noise; dp_gaussian clips around zero"
        ),
        excludes_non_finite=True,
    ),
    Aggregator(
        "clip",
        "shortens each update to an L2 norm",
        f"{_PACKAGE}.robust.norm_clip:build_clip",
        kind=TRANSFORM,
        supports_row_sparse=True,
        keeps_aggregate=True,
        uses_clip_norm=True,
        excludes_non_finite=True,
    ),
    Aggregator(
        "clip_rows",
        "shortens each item's row of an update to an L2 norm",
        f"{_PACKAGE}.robust.row_clip:build_clip_rows",
        kind=TRANSFORM,
        supports_row_sparse=True,
        keeps_aggregate=True,
        excludes_non_finite=True,
    ),
    Aggregator(
        "adaptive_clip",
        "shortens updates to a quantile of their norms, estimated as rounds go by",
        f"{_PACKAGE}.robust.adaptive_norm:build_adaptive_clip",
        kind=WRAPPER,
        supports_row_sparse=True,
        uses_clip_norm=True,
        not_private_because=_ESTIMATES_EXACTLY,
    ),
    Aggregator(
        "adaptive_zeroing",
        "drops updates far above a quantile of their norms",
        f"{_PACKAGE}.robust.adaptive_norm:build_adaptive_zeroing",
        kind=WRAPPER,
        supports_row_sparse=True,
        not_private_because=_ESTIMATES_EXACTLY,
    ),
)

FREEZE_ITEMS = "freeze_items"

_PARTIAL = (
    Aggregator(
        FREEZE_ITEMS,
        "leaves the item table as it is: clients send the towers alone",
        f"{_PACKAGE}.frozen_items:build_freeze_items",
        kind=TRANSFORM,
        supports_row_sparse=True,
        keeps_row_sparse=False,
        keeps_structure=False,
    ),
)

_COMPRESSED = (
    Aggregator(
        "quantize",
        "numbers of a few bits, and one scale for each tensor",
        f"{_PACKAGE}.compressed.quantization:build_quantize",
        kind=TRANSFORM,
        supports_row_sparse=True,
    ),
    Aggregator(
        "terngrad",
        "-1, 0 or 1, and one scale for each tensor",
        f"{_PACKAGE}.compressed.ternary:build_terngrad",
        kind=TRANSFORM,
        supports_row_sparse=True,
    ),
    Aggregator(
        "top_k",
        "each client's largest numbers alone",
        f"{_PACKAGE}.compressed.sparsification:build_top_k",
        kind=TRANSFORM,
        supports_row_sparse=True,
    ),
    Aggregator(
        "rotate",
        "a random rotation before quantize, undone after the sum",
        f"{_PACKAGE}.compressed.rotation:build_rotate",
        kind=TRANSFORM,
        supports_row_sparse=True,
        keeps_row_sparse=False,
        keeps_structure=False,
    ),
    Aggregator(
        "count_sketch",
        "a count sketch, of which the server takes the largest numbers (FetchSGD)",
        f"{_PACKAGE}.compressed.sketch:build_count_sketch",
        kind=TRANSFORM,
        supports_row_sparse=True,
        keeps_row_sparse=False,
        keeps_structure=False,
    ),
    Aggregator(
        "low_rank",
        "item rows on a random subspace, new in each round",
        f"{_PACKAGE}.compressed.low_rank:build_low_rank",
        kind=TRANSFORM,
        supports_row_sparse=True,
        keeps_structure=False,
    ),
)

_HIERARCHICAL = (
    Aggregator(
        "hierarchical",
        "clients send to edges, edges to the server (HierFAVG)",
        f"{_PACKAGE}.hierarchical.factory:build_hierarchical",
        supports_row_sparse=True,
        has_edges=True,
        not_private_because="its edges add no noise; dp_hierarchical's do",
    ),
    Aggregator(
        "dp_hierarchical",
        "as hierarchical, edges clip to --clip_norm and add Gaussian noise",
        f"{_PACKAGE}.hierarchical.factory:build_dp_hierarchical",
        is_private=True,
        mechanism=gaussian.GAUSSIAN.name,
        supports_row_sparse=True,
        uses_clip_norm=True,
        has_edges=True,
    ),
)

_SECURE = (
    Aggregator(
        "secure_mean",
        "clipped to --clip_norm, rounded to integers, summed securely",
        f"{_PACKAGE}.secure:build_secure_mean",
        uses_clip_norm=True,
        uses_secure_sum=True,
        not_private_because="a secure sum adds no noise; ddp_discrete_gaussian and ddp_skellam do",
    ),
    Aggregator(
        "tff_secure",
        "TFF's secure aggregator: a weighted mean in secure sums whose bounds it estimates",
        f"{_PACKAGE}.secure:build_tff_secure",
        uses_secure_sum=True,
        not_private_because="it weights clients, and estimates norms without noise",
    ),
)

AGGREGATORS = (*_MEANS, *_PRIVATE, *_ROBUST, *_PARTIAL, *_COMPRESSED, *_HIERARCHICAL, *_SECURE)
