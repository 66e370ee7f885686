"""Makes a log of interactions harder to link to people: hygiene, not a guarantee of privacy.

`pipeline` puts the steps together; each step is a module: `generalization` and `k_anonymity` for
the attributes of users, `perturbation` and `decoys` for their items, `coarse_time` for when and in
what order, `pseudonyms` for ids. `export` writes the result, `report` says what was reached and
what it cost, `linkage` how easily someone who knows a few items still finds a user.
"""
