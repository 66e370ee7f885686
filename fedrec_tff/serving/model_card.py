"""`MODEL_CARD.md`: what an export is, what it promises, and what it is worth, for whoever gets it.

Under differential privacy it holds what is covered, public, or about the run itself, by the classes
of `round_metrics`. Exact metrics of held-out interactions are in it only if asked for, and then say
`non_private/` in their names. Nothing is read that a run withheld.
"""

# Tested in tests/serving/test_model_card.py.

import dataclasses
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fedrec_tff.config import run_config
from fedrec_tff.config.run_config import RunConfig
from fedrec_tff.learning.config import POPULARITY
from fedrec_tff.run.finished import finished_run
from fedrec_tff.run.metrics import metric_names, round_metrics
from fedrec_tff.run.tracking import markdown
from fedrec_tff.serving.item_index import About
from fedrec_tff.serving.lite_model import LiteFile

# Where a catalogue is from, by the values of --catalogue.
_CATALOGUES = {
    "table": "a public table of items",
    "selected": "items that were chosen with noise, as a part of epsilon",
    "data": "the items that users took",
}
_DECIMALS = ".4f"
# Of the folder, and not of the model.
_UNSAID = frozenset({"output_dir", "resume_copy"})


@dataclasses.dataclass(frozen=True)
class Contents:
    """What an export holds, and how it was tried.

    Attributes:
      num_bytes: Sizes of files and folders, by their names in the export.
      lite_files: Files of TensorFlow Lite.
      index: What was measured of the index; None without one.
      command: Words of the command that made the export.
    """

    num_bytes: Mapping[str, int]
    lite_files: Sequence[LiteFile]
    index: About | None
    command: Sequence[str]


def write(run: finished_run.FinishedRun, contents: Contents, shows_non_private: bool) -> str:
    """Writes a model card.

    Args:
      run: The run whose model was exported.
      contents: What the export holds.
      shows_non_private: Whether exact metrics of held-out interactions, which epsilon does not
        cover, are shown under their `non_private/` names.

    Returns:
      The card, in Markdown.
    """
    sections = {
        "What it is": _describe_model(run),
        "Data": _describe_data(run),
        "Privacy": [str(run.results["privacy_statement"])],
        "Quality": _describe_quality(run, shows_non_private),
        "Limits": _list_limits(run.config),
        "Files": _list_files(contents),
        "How it was made": _describe_making(run, contents),
    }
    parts = ["# Model card", *(f"## {title}\n\n{_join(text)}" for title, text in sections.items())]
    return "\n\n".join(parts) + "\n"


def _describe_model(run: finished_run.FinishedRun) -> list[str]:
    config, model = run.config, run.config.two_tower
    tower = "a tower of its author's own" if model.plugin else f"the tower `{model.query_tower}`"
    num_items = len(run.items.ids)
    completed = [] if config.personal is None else [_describe_personal(config)]
    return [
        f"A two-tower retrieval model: {tower} reads the newest {model.history_length} items that "
        f"somebody took, and its query is compared ({model.similarity}) with {num_items:,} "
        f"items, by vectors of {model.embedding_dim} numbers each and a bias.",
        f"Trained by federated learning in {run.results['rounds']} rounds, with the aggregator "
        f"`{config.aggregator_chain.name}`. It recommends items that are not in the history.",
        *completed,
    ]


def _describe_personal(config: RunConfig) -> str:
    fitted_to = "what is read of it" if config.two_tower.takes_one_step else "all of it"
    return (
        f"A part of it (`{config.personal.tower}`) is in no file: it is fitted to each history "
        f"that is served, from zeros, by {config.personal.reconstruction_steps} gradient steps "
        f"over {fitted_to}, and is forgotten. The same history gets the same list."
    )


def _describe_data(run: finished_run.FinishedRun) -> list[str]:
    config = run.config
    kind = config.catalogue_kind
    text = [
        f"Interactions of users with items (`--dataset={config.dataset}`), split by "
        f"`--split={config.split}`. The catalogue is {_CATALOGUES[kind]}.",
    ]
    if config.item_features:
        text.append(
            f"Known features of items are in their vectors: {', '.join(config.item_features)}."
        )
    if config.personal is not None and config.negative_sampling == POPULARITY:
        how = "as released with noise, a part of epsilon" if config.is_private else "exactly"
        text.append(
            "The export holds how often each item was taken, for what it is compared with when a "
            f"history is served: {how}."
        )
    text.append(
        "The export holds raw ids and titles of items. Of users it holds nothing: neither ids nor "
        "interactions, nor the key that cohorts were drawn from."
    )
    return text


def _describe_quality(run: finished_run.FinishedRun, shows_non_private: bool) -> list[str]:
    shown = select_metrics(run.results, run.config.is_private, shows_non_private)
    if not shown:
        return [
            "No metric is shown: those of held-out interactions are exact statistics of people, "
            "which epsilon does not cover, and none was released with noise."
        ]
    rows = [(f"`{name}`", f"{value:{_DECIMALS}}") for name, value in shown.items()]
    table = markdown.create_table(("metric", "value"), rows)
    text = ["Over the full catalogue unless a name begins otherwise:", table]
    if any(name.startswith(metric_names.NON_PRIVATE) for name in shown):
        text.append(
            "What is called `non_private/` is an exact statistic of held-out interactions, which "
            "epsilon does not cover."
        )
    return text


def select_metrics(
    results: Mapping[str, Any], is_private: bool, shows_non_private: bool
) -> dict[str, float]:
    """Metrics that may be shown to whoever gets the model.

    Args:
      results: Contents of `results.json`.
      is_private: Whether the run claims differential privacy.
      shows_non_private: Whether exact ones are shown all the same, under their names.

    Returns:
      Test metrics of the model and of popularity; of a private run those that were noised, and the
      exact ones only if asked for.
    """
    folders = [f"{name}{metric_names.TEST}" for name in ("", "popularity/", "private_popularity/")]
    found = {}
    for name, value in results.items():
        is_noised = round_metrics.classify(name) == round_metrics.NOISED
        is_exact = name.removeprefix(metric_names.NON_PRIVATE).startswith(tuple(folders))
        is_marked = name.startswith(metric_names.NON_PRIVATE)
        may_be_shown = not is_private or (shows_non_private and is_marked)
        if is_noised or (is_exact and may_be_shown):
            found[name] = value
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def _list_limits(config: RunConfig) -> list[str]:
    model = config.two_tower
    older = "of the older ones it only knows not to recommend them"
    if config.personal is not None and not model.takes_one_step:
        older = "to all of them it is fitted"
    limits = [
        "It recommends the items of its catalogue, and no others; ids that it does not know are "
        "skipped in a history.",
        f"It reads the newest {model.history_length} items of a history; {older}.",
        "Scores order the items of one history. They are no probabilities, and those of two "
        "histories cannot be compared.",
        "It was measured on the data set above, offline. Of other people, other times, and of what "
        "becomes of people who follow its recommendations, nothing is known.",
        "Groups of users were not looked at one by one here: small ones may be served worse, under "
        "differential privacy most of all.",
    ]
    if not config.is_private:
        limits.append(
            "It was trained without differential privacy: who has it may find out who took part "
            "and what they did."
        )
    return ["\n".join(f"- {limit}" for limit in limits)]


def _list_files(contents: Contents) -> list[str]:
    overlaps = list_overlaps(contents)
    rows = [
        (f"`{name}`", f"{size:,}", str(overlaps.get(name, "")))
        for name, size in contents.num_bytes.items()
    ]
    table = markdown.create_table(("", "bytes", "of the exact first ten"), rows)
    if not overlaps:
        return [table]
    return [
        table,
        "The last column is the part of the model's own first ten items that a file finds, over "
        "made-up histories: items drawn from the catalogue with equal probability. No history of a "
        "user was read for it, and nothing was calibrated.",
    ]


def list_overlaps(contents: Contents) -> dict[str, str]:
    """What was measured of files, as texts by their names in the export."""
    overlaps = {f"tflite/{file.name}": f"{file.overlap:.3f}" for file in contents.lite_files}
    if contents.index is not None:
        overlaps["index"] = f"{contents.index.recall:.3f}"
    return overlaps


def _describe_making(run: finished_run.FinishedRun, contents: Contents) -> list[str]:
    versions = run.results.get("versions", {})
    made_by = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = (shlex.join(_training_command(run.config)), shlex.join(contents.command))
    text = ["\n".join(["```sh", *lines, "```"])]
    said = "Paths are shortened to their last part."
    if run.config.is_private:
        said += " The seed of a private run is not told."
    text.append(said)
    if made_by:
        text.append(f"Revision {run.results.get('git_revision')}; {made_by}.")
    return text


def _training_command(config: RunConfig) -> Iterator[str]:
    """The flags that differ from the defaults, without what tells more than the model."""
    yield from ("python", "-m", "experiments.train")
    defaults, unsaid = RunConfig(), _UNSAID | ({"seed"} if config.is_private else set())
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name in unsaid or value == getattr(defaults, field.name):
            continue
        value = list(value) if isinstance(value, tuple) else value
        for part in run_config.split_value(field.name, value):
            yield f"--{field.name}={shorten(part)}"


def shorten(value: Any) -> str:
    """A flag's value, a path by its last part only: folders tell of the machine they are on."""
    text = str(value)
    if os.sep not in text:
        return text
    return f".../{os.path.basename(text.rstrip(os.sep))}"


def _join(paragraphs: Sequence[str]) -> str:
    return "\n\n".join(paragraphs)
