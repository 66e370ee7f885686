"""Random operations of a serialised graph, redrawn from a key that is given at each call.

TensorFlow's stateful random operations are unfit for client work twice over. XLA on CPU draws the
same numbers with them in every fresh process; TensorFlow's own kernels are keyed from one 32-bit
word per process. Here they become their stateless siblings (Philox) over a key and a counter that
the caller provides for each client and round: from the operating system, or from a seed.
"""

import dataclasses

import tensorflow as tf

# The stateful operation, its stateless sibling, and the names of the inputs they share.
_STATELESS = {
    "RandomUniform": "StatelessRandomUniformV2",
    "RandomStandardNormal": "StatelessRandomNormalV2",
    "TruncatedNormal": "StatelessTruncatedNormalV2",
    "RandomUniformInt": "StatelessRandomUniformIntV2",
}
# Everything else that draws from a state of TensorFlow's.
_STATEFUL = frozenset(_STATELESS) | {
    "AnonymousSeedGenerator",
    "Multinomial",
    "NonDeterministicInts",
    "ParameterizedTruncatedNormal",
    "RandomGamma",
    "RandomPoisson",
    "RandomPoissonV2",
    "RandomShuffle",
    "RngReadAndSkip",
    "RngSkip",
    "StatefulRandomBinomial",
    "StatefulStandardNormal",
    "StatefulStandardNormalV2",
    "StatefulTruncatedNormal",
    "StatefulUniform",
    "StatefulUniformFullInt",
    "StatefulUniformInt",
}
# Stateless operations of which XLA and TensorFlow's kernels make different numbers.
_STATELESS_FLOATS = frozenset(
    f"Stateless{name}{version}"
    for name in ("RandomUniform", "RandomNormal", "TruncatedNormal", "RandomGamma")
    for version in ("", "V2", "V3")
)
_PHILOX = 1
_KEY = "fedrec_tff_random_key"
_COUNTER = "fedrec_tff_random_counter"
_ALGORITHM = "fedrec_tff_random_algorithm"


@dataclasses.dataclass(frozen=True)
class RandomInputs:
    """The tensors that a rewritten graph draws from.

    Attributes:
      key: Name of a uint64 [1] placeholder: Philox's key.
      counter: Name of a uint64 scalar placeholder, the lower half of Philox's counter; the upper
        half numbers the operations.
    """

    key: str = f"{_KEY}:0"
    counter: str = f"{_COUNTER}:0"


@dataclasses.dataclass(frozen=True)
class Rewriting:
    """What was made stateless in a graph.

    Attributes:
      inputs: Placeholders that were added; None if nothing draws from them.
      is_seeded: Whether an operation had a seed of its own, which fixes its numbers: a rotation,
        say, that clients apply and the server undoes.
    """

    inputs: RandomInputs | None
    is_seeded: bool


def rewrite(graph_def: tf.compat.v1.GraphDef) -> Rewriting:
    """Makes the graph's own stateful random operations stateless, in place.

    Those with a seed draw at each call what they would at their first. Those inside of functions
    (branches, loops) stay as they are; see `stateful_ops`.

    Args:
      graph_def: The graph.

    Returns:
      A record of what was made stateless.
    """
    nodes = [node for node in graph_def.node if node.op in _STATELESS]
    if not nodes:
        return Rewriting(None, is_seeded=False)
    _add_inputs(graph_def)
    num_free = 0
    for index, node in enumerate(nodes):
        seeds = node.attr["seed"].i, node.attr["seed2"].i
        _make_stateless(graph_def, node, index, seeds if any(seeds) else None)
        num_free += not any(seeds)
    return Rewriting(RandomInputs() if num_free else None, is_seeded=num_free < len(nodes))


def stateful_ops(graph_def: tf.compat.v1.GraphDef) -> list[str]:
    """The kinds of stateful random operations in a graph and its functions, sorted."""
    return sorted(_kinds(graph_def) & _STATEFUL)


def draws_stateless_floats(graph_def: tf.compat.v1.GraphDef) -> bool:
    """Whether a graph draws numbers that would be others under XLA, from the same seed."""
    return bool(_kinds(graph_def) & _STATELESS_FLOATS)


def _kinds(graph_def: tf.compat.v1.GraphDef) -> set[str]:
    """The kinds of operations in a graph and its functions."""
    functions = graph_def.library.function
    return {node.op for part in (graph_def.node, *(f.node_def for f in functions)) for node in part}


def _add_inputs(graph_def: tf.compat.v1.GraphDef) -> None:
    with tf.Graph().as_default() as graph:
        tf.compat.v1.placeholder(tf.uint64, [1], name=_KEY)
        tf.compat.v1.placeholder(tf.uint64, [], name=_COUNTER)
        tf.constant(_PHILOX, tf.int32, name=_ALGORITHM)
    graph_def.node.extend(graph.as_graph_def().node)


def _make_stateless(
    graph_def: tf.compat.v1.GraphDef,
    node: tf.compat.v1.NodeDef,
    index: int,
    seeds: tuple[int, int] | None,
) -> None:
    """Turns `op(shape, ...)` into `stateless_op(shape, key, counter, algorithm, ...)`.

    The counter of an operation without seeds is [that of the call, index]. Seeds become what
    TensorFlow's stateful kernels begin with: the key, and the counter's upper half.
    """
    prefix = f"fedrec_tff_random_{index}"
    with tf.Graph().as_default() as graph:
        if seeds is None:
            counter = tf.compat.v1.placeholder(tf.uint64, [], name=_COUNTER)
            tf.stack([counter, tf.constant(index, tf.uint64, name=f"{prefix}_index")], name=prefix)
        else:
            key, upper = (seed % 2**64 for seed in seeds)
            tf.constant([key], tf.uint64, name=f"{prefix}_key")
            tf.constant([0, upper], tf.uint64, name=prefix)
    graph_def.node.extend(n for n in graph.as_graph_def().node if n.name != _COUNTER)
    data_inputs = [name for name in node.input if not name.startswith("^")]
    control_inputs = [name for name in node.input if name.startswith("^")]
    shape_type = node.attr["T"].type
    node.op, stateful_op = _STATELESS[node.op], node.op
    if stateful_op == "RandomUniformInt":
        node.attr["dtype"].type = node.attr["Tout"].type
        del node.attr["Tout"]
    node.attr["Tshape"].type = shape_type
    for name in ("T", "seed", "seed2"):
        del node.attr[name]
    key = _KEY if seeds is None else f"{prefix}_key"
    del node.input[:]
    node.input.extend([data_inputs[0], key, prefix, _ALGORITHM, *data_inputs[1:], *control_inputs])
