"""What a preparation did, as text."""

# Tested in tests/studies/disk_population/test_job.py.

import shlex

from fedrec_tff.datasets.prepared.folder import PreparedFacts


def to_text(facts: PreparedFacts, folder: str) -> str:
    """Writes what was done, and how to train on it.

    Args:
      facts: What was done.
      folder: The prepared folder, as it was named.

    Returns:
      Lines; the last ones are the command.
    """
    size = sum(facts.file_bytes.values())
    flags = {"split": facts.split_name, "catalogue": facts.catalogue_kind}
    defaults = {"split": "leave_last_out", "catalogue": "data"}
    named = [f"--{name}={value}" for name, value in flags.items() if value != defaults[name]]
    if facts.roster_digest is not None:
        named.append("--roster=ROSTER")
    if facts.is_drawn:
        named.append(f"--seed={facts.seed}")
    command = ["python", "-m", "experiments.train", "--dataset=prepared", f"--data_dir={folder}"]
    return "\n".join(
        [
            facts.counts.summary(),
            f"{size / 1e9:.3g} GB in {folder}, which holds users' data: it is its owner's alone",
            "",
            "to train on it:",
            f"  {shlex.join([*command, *named, '--output_dir=runs/first'])}",
        ]
    )
