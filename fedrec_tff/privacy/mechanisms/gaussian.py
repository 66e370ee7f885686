"""DP-FedAvg: each update is clipped to a fixed norm, and Gaussian noise is added to the sum.

McMahan et al. 2018, "Learning differentially private recurrent language models" (arXiv
1710.06963). With edges between users and server (`dp_hierarchical`) each edge adds all of the noise
to its own sum: a user is in one edge, so the cost is the same.
"""

# Tested in tests/privacy/test_mechanisms.py.

from fedrec_tff.privacy.mechanisms import base, central

GAUSSIAN = central.CentralKind(
    name="dp_gaussian",
    may_have=("tower_clip_norm", *central.SIMULATION),
    rows=(
        base.TableRow(
            noise="N(0, (z S)^2), fresh",
            sensitivity="clip C, or sqrt(C^2 + C'^2)",
            sampler="`poisson`",
            relation="add or remove",
            cost="Gaussian(z) on Poisson(q); T",
            accountant="PLD, RDP",
            trusted="server",
            source="McMahan et al. 2018, 1710.06963",
        ),
        base.TableRow(
            noise="N(0, (z S)^2) at each of E edges, fresh",
            sensitivity="as `dp_gaussian`",
            sampler="`poisson`, `fixed_size`",
            relation="that of the sampler",
            cost="as `dp_gaussian`: a user is in one edge",
            accountant="as `dp_gaussian`",
            trusted="edges",
            source="as `dp_gaussian`",
            aggregator="dp_hierarchical",
        ),
        central.FIXED_SIZE_ROW,
    ),
)
