"""A sweep with stand-ins for runs, in a process of its own, to be interrupted or killed."""

import sys

import sweeps

from fedrec_tff.studies.sweep import session as sweep_session

outcome = sweep_session.run(
    sweeps.create_config("client_learning_rate=0.1,0.2,0.3", rounds=99),
    sys.argv[1],
    sweep_session.Options(2, command=sweeps.FAKE_TRAIN),
)
sys.exit(130 if outcome is None else 0)
