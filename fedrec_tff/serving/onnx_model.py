"""The functions of `lite_model` in another form: ONNX, by tf2onnx, an extra.

Inputs and outputs are those that `lite_model` has; weights are float32.
"""

# Tested in tests/serving/test_onnx_model.py.

import importlib
import pathlib
from types import ModuleType
from typing import Any

import tensorflow as tf

from fedrec_tff import errors
from fedrec_tff.serving import export_checks, lite_model
from fedrec_tff.serving.baked_model import BakedModel

# What onnxruntime has known since 1.14.
_OPSET = 17


def write(model: BakedModel, folder: pathlib.Path, k: int) -> None:
    """Writes the files of a model: the query tower and, for a small catalogue, the whole.

    Args:
      model: The model.
      folder: Folder that is to hold the files; made here.
      k: Length of a recommender's lists.

    Raises:
      UserError: If tf2onnx is not installed, or does not know an operation of the model.
    """
    folder.mkdir()
    module = lite_model.LiteModule(lite_model.PlainScorer(model, tf.Variable), k)
    for kind in lite_model.list_kinds(len(model.bias)):
        (folder / f"{kind}.onnx").write_bytes(convert(module, kind))


def convert(module: lite_model.LiteModule, kind: str) -> bytes:
    """Converts one function of a model.

    Args:
      module: The model, which holds variables: constants would become inputs.
      kind: `lite_model.ENCODER` or `lite_model.RECOMMENDER`.

    Returns:
      The contents of a file.

    Raises:
      UserError: If tf2onnx is not installed, or does not know an operation of the model.
    """
    tf2onnx, onnx = _load()
    function = module.functions[kind]
    try:
        converted, _ = tf2onnx.convert.from_function(
            function, input_signature=function.input_signature, opset=_OPSET
        )
        _cast_for_loops(converted.graph, onnx)
        # What no runtime takes is written without a word.
        onnx.checker.check_model(converted, full_check=True)
    # Neither has one class of errors.
    except Exception as error:
        raise errors.UserError(
            "tf2onnx cannot write the model's tower as ONNX: export without "
            f"(--formats={export_checks.TFLITE})"
        ) from error
    return converted.SerializeToString()


def _cast_for_loops(graph: Any, onnx: ModuleType) -> None:
    """Gives loops whole numbers of the types that they say.

    TensorFlow counts in int32 and ONNX in int64; a number that is both the count of a loop and read
    in it is written in one of them.
    """
    int32, int64 = onnx.TensorProto.INT32, onnx.TensorProto.INT64
    for place, node in reversed(list(enumerate(graph.node))):
        if node.op_type != "Loop":
            continue
        [body] = [attribute.g for attribute in node.attribute if attribute.name == "body"]
        types = [int64, None, *(given.type.tensor_type.elem_type for given in body.input[2:])]
        for number, (name, dtype) in enumerate(zip(node.input, types, strict=True)):
            if name and dtype in (int32, int64):
                cast = f"{node.name}/cast_{number}"
                added = onnx.helper.make_node("Cast", [name], [cast], name=cast, to=dtype)
                node.input[number] = cast
                graph.node.insert(place, added)


def _load() -> tuple[ModuleType, ModuleType]:
    export_checks.check_onnx()
    return importlib.import_module("tf2onnx"), importlib.import_module("onnx")
