"""Models as text: what there is, and how one of somebody's own is used."""

# Tested in tests/experiments/test_models_binary.py.

from collections.abc import Mapping

from fedrec_tff.checks import plugin_text
from fedrec_tff.models.towers import catalogue
from fedrec_tff.plugins import signatures

_BUILTIN = {
    catalogue.MEAN: "the mean of a history's embeddings, then residual MLPs",
    catalogue.RECENCY: "the same, with a learned weight for each age",
    catalogue.GRU: "a gated recurrent unit, then residual MLPs (causal)",
    catalogue.ATTENTION: "causal self-attention",
    catalogue.ATTENTION_AND_MEAN: "the same, added to the mean of the whole history",
    catalogue.SET: "the mean of a history, trained to predict each item from all the others",
}


def to_list(offered: Mapping[str, str]) -> str:
    """Renders what there is.

    Args:
      offered: The models that installed packages offer, with a line about each.

    Returns:
      A line for each, by the flag that chooses it.
    """
    rows = {f"--query_tower={name}": text for name, text in _BUILTIN.items()}
    rows |= {f"--model={name}": text for name, text in offered.items()}
    rows["--model=PATH.py:BUILDER"] = "one of yours; docs/custom_models.md tells how"
    width = max(map(len, rows))
    return "\n".join(f"{name:<{width}}  {text}" for name, text in rows.items())


def to_description(name: str, builder: str, signature: signatures.Signature) -> str:
    """Renders all that is known of a model without importing it.

    Args:
      name: Name of the model, as the flag says it.
      builder: Builder that the name stands for.
      signature: Signature of the builder.

    Returns:
      Several paragraphs.
    """
    parts = [name] if name == builder else [name, f"  {builder}"]
    if signature.docstring:
        parts += ["", signature.docstring]
    parts += ["", "Parameters:", *plugin_text.describe_parameters(signature)]
    flags = [f"--model_param {text}" for text in plugin_text.choose_examples(signature)]
    command = ["python -m experiments.train --output_dir=runs/new", f"--model={name}", *flags]
    parts += ["", "Usage:", "  " + " \\\n      ".join(command)]
    return "\n".join(parts)
