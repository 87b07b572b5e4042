"""TensorFlow, kept off the accelerators and quiet; imported when first asked for, which takes seconds."""

import os
from types import ModuleType


def import_tensorflow() -> ModuleType:
    """The module ``tensorflow``; a GPU stays JAX's alone unless TensorFlow was using it before.

    Raises:
        ModuleNotFoundError: TensorFlow is not installed; says what works without it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # nothing here uses oneDNN, but it announces itself
    try:
        import tensorflow as tf
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the tf.data pipeline needs TensorFlow, which cannot be imported ({error}); install tensorflow-cpu, "
            "or keep the data on the accelerator with --config.input.pipeline=device",
            name=error.name,
        ) from None
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError:  # TensorFlow has already started, on the devices that it then saw
        return tf
    return tf
