"""Reads what TensorBoard would show of a folder, by TensorBoard's own reader."""

import os

import numpy as np
import tensorflow as tf
from tensorboard.backend.event_processing import event_accumulator, event_multiplexer
from tensorboard.plugins.hparams import metadata

ALL = {event_accumulator.TENSORS: 0}


def accumulate(folder):
    found = event_accumulator.EventAccumulator(os.fspath(folder), size_guidance=ALL)
    found.Reload()
    return found


def _find_tags(found, plugin):
    try:
        return set(found.PluginTagToContent(plugin))
    except KeyError:
        return set()


def find_tags(folder, plugin):
    return _find_tags(accumulate(folder), plugin)


def read_scalars(folder):
    """Steps and values by tag."""
    found = accumulate(folder)
    return {
        tag: [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in found.Tensors(tag)]
        for tag in _find_tags(found, "scalars")
    }


def read_texts(folder):
    """Steps and texts by tag."""
    found = accumulate(folder)
    return {
        tag: [
            (e.step, np.ravel(tf.make_ndarray(e.tensor_proto))[0].decode())
            for e in found.Tensors(tag)
        ]
        for tag in _find_tags(found, "text")
    }


def read_session(folder):
    """Name and values of the folder's row in HParams."""
    content = accumulate(folder).PluginTagToContent("hparams")[metadata.SESSION_START_INFO_TAG]
    info = metadata.parse_session_start_info_plugin_data(content)
    values = {n: getattr(v, v.WhichOneof("kind")) for n, v in info.hparams.items()}
    return info.group_name, values


def find_runs(logdir):
    """The runs that TensorBoard finds below a folder."""
    found = event_multiplexer.EventMultiplexer()
    found.AddRunsFromDirectory(os.fspath(logdir))
    return set(found.Runs())
