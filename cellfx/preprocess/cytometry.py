"""Stored intensities of an imaging cytometer to [0, 1], channel by channel: fitted on training images, then applied.

Source: S. Isaksson, "Deeper Understanding of Autophagy and pseudo-Autophagy through Latent-Space Analysis", 2018,
section 3.2. Every channel is standardized, clipped and mapped:

    bright field    (x - median of the image's background) / standard deviation of the image's cell
    fluorescence    (log max(x, 1) - mean) / standard deviation of the brightest component of a mixture

Clipped to -3 and 3, v becomes (v + 3) / 6. Differs from the paper: for bright field it says to add 6 and to divide by
3, which leaves [0, 1]; for fluorescence it takes the smallest and the largest value that were found instead of -3 and
3, which are the same as soon as one pixel is clipped at each end.

With the published setting all fluorescence dimmer than the brightest component's mean less 3 deviations becomes 0;
``floor="background"`` begins at the mean of the dimmest component instead, where that is lower.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cellfx.preprocess.background import background_and_deviation, cell_positions, deviation_map
from cellfx.preprocess.kinds import KINDS, check_kinds, check_stored, unusual
from cellfx.preprocess.mixture import Mixture, fit_mixture, sample_log_pixels, to_log
from cellfx.preprocess.normalisation import CLIP, BrightField, Fluorescence, Normalisation, cell_mask, check_whole

FLOORS = ("brightest", "background")
_BLOCK = 512


def fit(
    images: np.ndarray,
    kinds: Sequence[str],
    seed: int = 0,
    max_pixels: int = 200_000,
    threshold: float | None = None,
    floor: str = "brightest",
) -> Normalisation:
    """Fits a normalization to training images.

    Args:
        images: (N, H, W, C) uint8 or uint16.
        kinds: (C,) of ``KINDS``, one for each channel.
        seed: of the pixels that mixtures are fitted on, and of where the fits begin.
        max_pixels: on how many pixels of a channel its mixture is fitted at most; how many they were is kept.
        threshold: see ``cellfx.preprocess.background.cell_positions``.
        floor: of ``FLOORS``, what becomes 0 in fluorescence channels, see the module.

    Raises:
        ValueError: images, kinds or settings are not as said, or an image has a single pixel.
    """
    check_stored(images, "NHWC")
    check_kinds(kinds, images.shape[-1])
    _check_settings(images.shape[1] * images.shape[2], max_pixels, floor)
    channels, notices = [], unusual(images, kinds)
    for channel, kind in enumerate(kinds):
        pixels = images[..., channel]
        if kind == "brightfield":
            is_cell, found = cell_positions(deviation_map(pixels), threshold)
            channels.append(BrightField(found, tuple("".join("01"[int(at)] for at in row) for row in is_cell)))
            said = (
                () if found is not None else ("all pixel positions deviate alike; the middle was taken for the cell",)
            )
        else:
            mixture, said = fit_mixture(sample_log_pixels(pixels, max_pixels, seed), seed)
            dimmest = (mixture.means[0] - mixture.means[-1]) / mixture.deviations[-1]
            channels.append(Fluorescence(mixture, min(-CLIP, dimmest) if floor == "background" else -CLIP))
        notices += [f"channel {channel} ({kind}): {sentence}" for sentence in said]
    return Normalisation(str(images.dtype), images.shape[1:3], tuple(channels), tuple(notices))


def apply(normalisation: Normalisation, images: np.ndarray) -> np.ndarray:
    """Normalizes images.

    An image whose bright-field cell has no contrast becomes 0.5 there.

    Args:
        normalisation: see ``fit``.
        images: (N, H, W, C), of the size and type of those it was fitted to.

    Returns:
        (N, H, W, C) float32 in [0, 1].

    Raises:
        ValueError: the images are of another size, type or number of channels.
    """
    _check_fits(normalisation, images)
    result = np.empty(images.shape, np.float32)
    for start in range(0, len(images), _BLOCK):
        part = images[start : start + _BLOCK]
        offsets, scales = levels(normalisation, part)
        for index, channel in enumerate(normalisation.channels):
            pixels = part[..., index]
            values = to_log(pixels) if isinstance(channel, Fluorescence) else pixels.astype(np.float64)
            offset, scale = (column[:, index, None, None] for column in (offsets, scales))
            standard = np.divide(values - offset, scale, out=np.zeros_like(values), where=scale > 0)
            low = _low(channel)
            result[start : start + _BLOCK, ..., index] = (np.clip(standard, low, CLIP) - low) / (CLIP - low)
    return result


def levels(normalisation: Normalisation, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is subtracted from each channel of each image, and what it is then divided by.

    Args:
        normalisation: see ``fit``.
        images: (N, H, W, C), as for ``apply``.

    Returns:
        (N, C) float64 twice: background median and cell deviation in bright-field channels, which may be 0; mean and
        deviation of the log intensities in fluorescence channels, the same for all images.
    """
    _check_fits(normalisation, images)
    offsets, scales = np.empty((2, len(images), images.shape[-1]))
    for index, channel in enumerate(normalisation.channels):
        if isinstance(channel, BrightField):
            found = background_and_deviation(images[..., index], cell_mask(channel))
        else:
            found = channel.mixture.means[-1], channel.mixture.deviations[-1]
        offsets[:, index], scales[:, index] = found
    return offsets, scales


def invert(normalisation: Normalisation, normalised: np.ndarray, offsets: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Stored intensities again, wherever nothing was clipped; a fluorescence of 0 comes back as 1.

    Args:
        normalisation: see ``fit``.
        normalised: (N, H, W, C) in [0, 1].
        offsets: (N, C), or (1, C) for all images alike, see ``levels``.
        scales: the same.

    Returns:
        (N, H, W, C) float64, not rounded.
    """
    result = np.empty(normalised.shape, np.float64)
    for index, channel in enumerate(normalisation.channels):
        low = _low(channel)
        standard = low + normalised[..., index].astype(np.float64) * (CLIP - low)
        offset, scale = (column[:, index, None, None] for column in (offsets, scales))
        values = offset + scale * standard
        result[..., index] = np.exp(values) if isinstance(channel, Fluorescence) else values
    return result


def to_json(normalisation: Normalisation) -> dict[str, Any]:
    """The normalization as values that JSON knows; floats come back exactly."""
    channels = []
    for channel in normalisation.channels:
        if isinstance(channel, BrightField):
            channels.append({"kind": KINDS[0], "threshold": channel.threshold, "cell": list(channel.cell)})
        else:
            mixture = {name: _listed(value) for name, value in channel.mixture._asdict().items()}
            channels.append({"kind": KINDS[1], "mixture": mixture, "low": channel.low})
    rest = {name: _listed(getattr(normalisation, name)) for name in ("dtype", "image_size", "notices")}
    return {**rest, "channels": channels}


def from_json(saved: Mapping[str, Any]) -> Normalisation:
    """The normalization that ``to_json`` made these values of.

    Raises:
        ValueError: they are not such values.
    """
    try:
        channels = tuple(_channel_from_json(channel) for channel in saved["channels"])
        size, notices = tuple(saved["image_size"]), tuple(saved["notices"])
        normalisation = Normalisation(saved["dtype"], size, channels, notices)
        check_whole(normalisation)
        is_same = to_json(normalisation) == dict(saved)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"not a saved normalization: got {type(error).__name__} ({error}), expected exactly what to_json returned; "
            f"fit again"
        ) from error
    if not is_same:
        raise ValueError(
            f"not a saved normalization: got {', '.join(saved)}, expected exactly what to_json returned; fit again"
        )
    return normalisation


def _channel_from_json(saved: Mapping[str, Any]) -> BrightField | Fluorescence:
    if saved["kind"] == KINDS[0]:
        return BrightField(saved["threshold"], tuple(saved["cell"]))
    mixture = {name: tuple(value) if isinstance(value, list) else value for name, value in saved["mixture"].items()}
    return Fluorescence(Mixture(**mixture), saved["low"])


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _low(channel: BrightField | Fluorescence) -> float:
    return channel.low if isinstance(channel, Fluorescence) else -CLIP


def _check_settings(num_pixels: int, max_pixels: int, floor: str) -> None:
    if num_pixels < 2:
        raise ValueError("images of a single pixel: got 1 x 1, expected 2 pixels or more; use larger images")
    if max_pixels < 1:
        raise ValueError(f"no pixel to fit on: got max_pixels={max_pixels}, expected 1 or more; raise max_pixels")
    if floor not in FLOORS:
        raise ValueError(f"unknown floor: got {floor!r}, expected {' or '.join(FLOORS)}; correct floor")


def _check_fits(normalisation: Normalisation, images: np.ndarray) -> None:
    expected = (*normalisation.image_size, len(normalisation.channels))
    if images.ndim != 4 or images.shape[1:] != expected or str(images.dtype) != normalisation.dtype:
        raise ValueError(
            f"images differ from those the normalization was fitted to: got shape {images.shape} of {images.dtype}, "
            f"expected (N, {', '.join(map(str, expected))}) of {normalisation.dtype}; resize them, or fit again"
        )
