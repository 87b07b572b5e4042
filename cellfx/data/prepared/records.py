"""Records that a TFDS builder prepares once, in the array_record format, and that are then read in any order.

Neither preparing nor reading imports TensorFlow.
"""

import contextlib
import io
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_logger = logging.getLogger(__name__)


def build_records(
    builder_class: type, config: Any, manual_dir: str | os.PathLike[str], data_dir: str | os.PathLike[str] | None
) -> Any:
    """The builder, its data prepared.

    TFDS writes to a folder of another name and renames it when all is written, so that an interrupted preparation
    leaves nothing that could be taken for prepared data.

    Args:
        builder_class: a ``tfds.core.DatasetBuilder``.
        config: its ``tfds.core.BuilderConfig``, whose name tells apart whatever must not be confused.
        manual_dir: the folder of the originals.
        data_dir: where prepared data is kept; None is ``$CELLFX_CACHE/datasets`` if that is set, otherwise where
            TFDS keeps its own.

    Raises:
        OSError: the data cannot be written.
        Whatever the builder raises.
    """
    import tensorflow_datasets as tfds

    if data_dir is None and os.environ.get("CELLFX_CACHE"):
        data_dir = Path(os.environ["CELLFX_CACHE"]) / "datasets"
    with _quiet_tfds():
        builder = _open_builder(builder_class, config, data_dir)
        if builder.data_path.exists():
            return builder
        _logger.info("preparing %s in %s", manual_dir, builder.data_path)
        download = tfds.download.DownloadConfig(manual_dir=str(Path(manual_dir).resolve()))
        try:
            builder.download_and_prepare(download_config=download)
        except (OSError, RuntimeError) as error:  # array_record raises RuntimeError where it cannot write
            if not builder.data_path.exists():
                raise OSError(
                    f"cannot write the prepared data to {builder.data_path}: {' '.join(str(error).split())}; "
                    "nothing of it was kept; make room or set data_dir to another place"
                ) from error
            # Another process has prepared the same data meanwhile.
            builder = _open_builder(builder_class, config, data_dir)
    _remove_leftovers(builder.data_path)
    return builder


def _remove_leftovers(prepared: Path) -> None:
    """What killed preparations of the same data have left. One still running fails, and takes what is prepared."""
    for leftover in prepared.parent.glob(f"incomplete.*_{prepared.name}"):
        shutil.rmtree(leftover, ignore_errors=True)


def _open_builder(builder_class: type, config: Any, data_dir: str | os.PathLike[str] | None) -> Any:
    try:
        return builder_class(config=config, data_dir=data_dir, file_format="array_record")
    except Exception as error:  # what TFDS raises depends on which of its files is damaged
        place = Path(data_dir or "the data folder of TFDS") / builder_class.name / config.name
        raise OSError(
            f"cannot read the description of the prepared data in {place}: {' '.join(str(error).split())}; "
            "delete that folder to have it prepared again"
        ) from error


def notes(builder: Any, names: Sequence[str]) -> dict[str, Any]:
    """What the builder has put into ``info.metadata`` under the names.

    Raises:
        OSError: the prepared data is damaged.
    """
    try:
        return {name: builder.info.metadata[name] for name in names}
    except (KeyError, ValueError) as error:
        raise _damage(builder, f"no readable notes ({type(error).__name__}: {error})") from error


def image_reader(builder: Any, split: str, num_examples: int) -> Callable[[np.ndarray], np.ndarray]:
    """Function from rows (n,) of a split to its images (n, H, W, C); no other feature of a record is parsed.

    Args:
        builder: with prepared data and a feature ``image``.
        split: name of the split.
        num_examples: how many records there must be.

    Raises:
        OSError: the prepared data is damaged, also raised by the function.
    """
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict({"image": builder.info.features["image"]})
    try:
        records = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
        found = len(records)
    except Exception as error:
        raise _damage(builder, str(error)) from error
    if found != num_examples:
        raise _damage(builder, f"got {found} records, expected {num_examples}")

    def read(rows: np.ndarray) -> np.ndarray:
        try:
            chosen = records.__getitems__(rows.tolist())
            return np.stack([features.deserialize_example_np(record)["image"] for record in chosen])
        except Exception as error:  # array_record raises bare RuntimeErrors, protobuf its own
            raise _damage(builder, str(error)) from error

    return read


def _damage(builder: Any, reason: str) -> OSError:
    return OSError(
        f"the prepared data in {builder.data_path} is damaged: {' '.join(reason.split())}; delete that folder to have "
        "it prepared again"
    )


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Leaves TFDS its progress bars, on stderr; not its announcements, on stdout, nor the warning about our config."""

    def is_news(record: logging.LogRecord) -> bool:
        return "custom data configuration" not in record.getMessage()

    logger = logging.getLogger("absl")
    logger.addFilter(is_news)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.removeFilter(is_news)
