"""What XLA compiled for contexts that nobody has any more, given back.

TensorFlow keeps each program that it compiled, and ten threads beside them, until the process
ends: 15 MB or more for each run that is made in one process. It keeps them for a device, not for
who asked, in a resource that no function of its interface frees, but `DestroyResourceOp` does.
"""

import weakref

import tensorflow as tf
from tensorflow.core.framework import tensor_pb2

# The resource of TensorFlow 2.14 (`BuildXlaDeviceCompiler`), and the hash by which it is known to
# be a `tensorflow::DeviceCompiler<xla::LocalExecutable, xla::LocalClient>`.
_CONTAINER, _NAME, _TYPE_HASH = "localhost", "xla_device_compiler", 0x6B406BD7CBE180FF

_users: "weakref.WeakSet[object]" = weakref.WeakSet()


def begin_use(user: object, device_name: str) -> None:
    """Notes somebody who is about to compile; drops all programs if nobody else may use them.

    That is done here, and not when the last user is gone: that may be in the middle of anything.

    Args:
      user: Who has programs compiled for as long as it lives.
      device_name: TensorFlow's name of the device.
    """
    if not _users:
        drop(device_name)
    _users.add(user)


def drop(device_name: str) -> None:
    """Drops what XLA compiled for a device: what is called again will be compiled again.

    Args:
      device_name: TensorFlow's name of the device.
    """
    with tf.init_scope(), tf.device(device_name):
        tf.raw_ops.DestroyResourceOp(resource=find(), ignore_lookup_error=True)


def find() -> tf.Tensor:
    """A handle of the programs of the device of this scope, whether there are any or not."""
    proto = tensor_pb2.TensorProto(dtype=tf.resource.as_datatype_enum)
    proto.tensor_shape.SetInParent()
    proto.resource_handle_val.add(
        device=tf.zeros([]).device, container=_CONTAINER, name=_NAME, hash_code=_TYPE_HASH
    )
    return tf.io.parse_tensor(proto.SerializeToString(), tf.resource)
