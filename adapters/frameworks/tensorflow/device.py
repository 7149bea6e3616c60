"""TensorFlow's threads and devices, which are set before the first operation."""

import tensorflow as tf

from velodrome.adapters.contract import Unsupported


def set_threads(threads, devices=1):
    """Let `threads` threads compute on each device.

    On one device one operation runs at a time, so that no more compute; on several of a CPU, one on
    each: they share the threads of a process.
    """
    tf.config.threading.set_intra_op_parallelism_threads(threads * devices)
    tf.config.threading.set_inter_op_parallelism_threads(devices)


def find_gpu(device, dtype):
    """Return the first visible GPU; None for the CPU."""
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
        return None
    if not tf.test.is_built_with_cuda():
        raise Unsupported("this build of TensorFlow, {}, has no CUDA".format(tf.__version__))
    (gpu,) = _show_gpus(1)
    tf.config.experimental.enable_tensor_float_32_execution(dtype == "tf32")
    return gpu


def make_devices(device, count):
    """Return the names of `count` GPUs, or of as many devices into which the CPU is divided."""
    if device == "gpu":
        _show_gpus(count)
    else:
        (cpu,) = tf.config.list_physical_devices("CPU")
        if len(tf.config.get_logical_device_configuration(cpu) or ()) != count:
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * count
            )
    return ["/{}:{}".format(device.upper(), number) for number in range(count)]


def _show_gpus(count):
    """Return the first GPUs, and hide the others."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        raise Unsupported("TensorFlow {} was built for CUDA and sees no GPU".format(tf.__version__))
    if len(gpus) < count:
        raise Unsupported("TensorFlow sees {} of {} GPUs".format(len(gpus), count))
    tf.config.set_visible_devices(gpus[:count], "GPU")
    for gpu in gpus[:count]:
        tf.config.experimental.set_memory_growth(gpu, True)  # noqa: FBT003
    return gpus[:count]
