import itertools
import re
from pathlib import Path

import pytest

from cellfx.data.images.channels import align, canonical, choose, kinds_of, name_channels

PATH, ROOT = Path("cells/a.ome.tif"), Path("cells")
NAMES = ("brightfield", "PI", "side scatter")


def test_names_are_compared_without_case_and_separators():
    assert canonical("Side_Scatter") == canonical("side-scatter") == canonical("SIDE scatter") == "sidescatter"
    assert canonical("Ch1") != canonical("Ch11")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, (0, 1, 2)),
        (("brightfield",), (0,)),
        (["Side-Scatter", "Bright Field"], (2, 0)),
        ((2, 0), (2, 0)),
        (("pi", 0), (1, 0)),
        ("PI", (1,)),
        (1, (1,)),
    ],
)
def test_channels_are_chosen_by_name_or_index_in_the_order_asked_for(wanted, expected):
    assert choose(wanted, NAMES, PATH) == expected


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (
            ("side_scater",),
            "cells/a.ome.tif has no channel 'side_scater'; got the channels brightfield, PI, side scatter; expected",
        ),
        (("side_scater",), "one of these or an index; correct channels: did you mean 'side scatter'?"),
        (("P",), "did you mean 'PI'?"),
        ((3,), "cells/a.ome.tif has no channel 3; got the channels brightfield, PI, side scatter; expected 0 to 2"),
        ((-1,), "has no channel -1;"),
        ((), "channels must be different, at least one; got none; expected some of brightfield, PI, side scatter"),
        (("PI", 1), "channels must be different, at least one; got PI, 1;"),
    ],
)
def test_a_channel_that_cannot_be_chosen_is_named_with_its_file(wanted, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        choose(wanted, NAMES, PATH)


def test_a_name_of_two_channels_is_refused_but_their_indices_are_not():
    names = ("DNA", "dna", "PI")
    with pytest.raises(
        ValueError, match=r"a\.ome\.tif has 2 channels called 'DNA'; .* give an index in channels, .* 0, 1"
    ):
        choose(("DNA",), names, PATH)
    assert choose((1, 0), names, PATH) == (1, 0)


@pytest.mark.parametrize(
    ("brightfield", "names", "expected"),
    [
        (None, NAMES, "bff"),
        (None, ("Ch01 BF", "Ch02", "Bright_Field 2"), "bfb"),
        (None, ("Ch1", "Ch2"), "ff"),
        ((), NAMES, "fff"),
        ([], NAMES, "fff"),
        (("side scatter", 0), NAMES, "bfb"),
    ],
)
def test_bright_field_is_what_is_said_or_what_is_called_so(brightfield, names, expected):
    kinds = kinds_of(brightfield, names, PATH)
    assert kinds == tuple({"b": "brightfield", "f": "fluorescence"}[letter] for letter in expected)


def test_an_unknown_bright_field_is_named():
    with pytest.raises(ValueError, match=r"no channel 'BF'; .*correct brightfield: did you mean 'brightfield'\?"):
        kinds_of(("BF",), NAMES, PATH)


def test_channels_without_names_are_told_how_to_get_them():
    message = r"got the channels Ch1, Ch2; .* correct brightfield: the file names no channels, channel_names does"
    with pytest.raises(ValueError, match=message):
        kinds_of(("brightfield",), ("Ch1", "Ch2"), PATH)
    with pytest.raises(ValueError, match=r"did you mean 'Ch2'\?"):
        kinds_of(("Ch22",), ("Ch1", "Ch2"), PATH)


def test_names_come_from_the_file_then_from_the_config_then_from_the_names_of_files():
    assert name_channels(("DNA",), 1, ("x",), ("Ch4",), PATH) == ("DNA",)
    assert name_channels((), 1, ["x"], ("Ch4",), PATH) == ("x",)
    assert name_channels((), 1, None, ("Ch4",), PATH) == ("Ch4",)
    assert name_channels((), 3, None, (), PATH) == ("Ch1", "Ch2", "Ch3")
    with pytest.raises(
        ValueError, match=r"a\.ome\.tif has 3 channels; got channel_names x, y; expected a name for each"
    ):
        name_channels((), 3, ["x", "y"], (), PATH)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_channels_in_another_order_are_found_by_name(order):
    names = [NAMES[index].upper() for index in order]
    found = align(names, NAMES, PATH, ROOT)
    assert [names[index].lower() for index in found] == [name.lower() for name in NAMES]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            NAMES[:2],
            "has the channels brightfield, PI; expected brightfield, PI, side scatter, as the first image of cells",
        ),
        (("brightfeld", "PI", "side scatter"), "it has no channel 'brightfield', the nearest is 'brightfeld'"),
        ((*NAMES, "DAPI"), "has the channels brightfield, PI, side scatter, DAPI; expected"),
    ],
)
def test_other_channels_are_refused(names, message):
    with pytest.raises(ValueError, match=re.escape(f"{PATH} has")) as caught:
        align(names, NAMES, PATH, ROOT)
    assert message in str(caught.value)
