import numpy as np
import pytest

from cellfx.profiles.tables.aggregate import aggregate
from cellfx.profiles.tables.reading import read


class Trap:
    """Unpickling it fails the test."""

    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def field(path, features, locations=None, **arrays):
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = np.array(Trap(), dtype=object)
    places = {} if locations is None else {"locations": locations}
    np.savez_compressed(path, features=features, metadata=metadata, **places, **arrays)


def test_both_layouts(tmp_path):
    rng = np.random.default_rng(0)
    cells = {key: rng.normal(size=(n, 4)).astype(np.float32) for key, n in (("a", 3), ("b", 0), ("c", 2))}
    places = rng.uniform(0, 1000, (3, 2))
    field(tmp_path / "nested" / "batch" / "p1" / "A01" / "1.npz", cells["a"], places)
    field(tmp_path / "nested" / "batch" / "p1" / "A01" / "2.npz", cells["b"], np.zeros((0, 2)))
    field(tmp_path / "nested" / "batch" / "p1" / "A02" / "1.npz", cells["c"])
    field(tmp_path / "flat" / "p1" / "A01_1.npz", cells["a"], places)
    field(tmp_path / "flat" / "p1" / "A01_2.npz", cells["b"], np.zeros((0, 2)))
    field(tmp_path / "flat" / "p1" / "A02_1.npz", cells["c"])
    nested, flat = read(tmp_path / "nested"), read(tmp_path / "flat")
    assert nested.names == ("DP_0", "DP_1", "DP_2", "DP_3")
    np.testing.assert_array_equal(nested.features, np.concatenate([cells["a"], cells["c"]]).astype(np.float64))
    np.testing.assert_array_equal(nested.features, flat.features)
    assert nested.metadata.equals(flat.metadata)
    assert nested.metadata["Metadata_Plate"].to_list() == ["p1"] * 5
    assert nested.metadata["Metadata_Well"].to_list() == ["A01"] * 3 + ["A02"] * 2
    assert nested.metadata["Metadata_Site"].to_list() == ["1"] * 5
    assert nested.metadata["Metadata_Location_Y"].to_list() == [*places[:, 1].tolist(), None, None]
    assert aggregate(nested).metadata["Metadata_Cell_Count"].to_list() == [3, 2]


def test_pickled_places_are_skipped(tmp_path):
    field(tmp_path / "p" / "A" / "1.npz", np.ones((2, 3)), np.array([[Trap(), 1], [2, 3]], dtype=object))
    profiles = read(tmp_path)
    assert profiles.metadata.columns == ["Metadata_Plate", "Metadata_Well", "Metadata_Site"]
    assert profiles.features.shape == (2, 3)


def test_bad_input(tmp_path):
    field(tmp_path / "a" / "p" / "A" / "1.npz", np.array([[Trap()]], dtype=object))
    field(tmp_path / "c" / "p" / "A" / "1.npz", np.zeros(3))
    for width in (2, 3):
        field(tmp_path / "d" / "p" / "A" / f"{width}.npz", np.zeros((1, width)))
    field(tmp_path / "e" / "A1" / "1.npz", np.zeros((1, 2)))
    (tmp_path / "b" / "p" / "A").mkdir(parents=True)
    (tmp_path / "b" / "p" / "A" / "1.npz").write_bytes(b"nothing")
    for name in "ab":
        with pytest.raises(
            ValueError, match=r"not what DeepProfiler writes: got .*1.npz, expected a .npz with numbers"
        ):
            read(tmp_path / name)
    with pytest.raises(ValueError, match=r"not features of cells: got an array of shape \(3,\) in"):
        read(tmp_path / "c")
    with pytest.raises(ValueError, match=r"fields of view with different features: got \[2, 3\] of them below"):
        read(tmp_path / "d")
    with pytest.raises(ValueError, match=r"no plate, well and site in the path: got A1/1.npz below"):
        read(tmp_path / "e")


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_file_is_named(seed, tmp_path):
    (tmp_path / "p").mkdir()
    for name in ("A01_1", "A01_2"):
        np.savez_compressed(tmp_path / "p" / f"{name}.npz", features=np.random.default_rng(0).normal(size=(20, 30)))
    path, rng = tmp_path / "p" / "A01_2.npz", np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    start = int(rng.integers(len(content) - 64))
    content[start : start + 64] = rng.bytes(64)
    path.write_bytes(content if seed % 3 else content[: start + 1])
    with pytest.raises(ValueError, match=r"not what DeepProfiler writes: got .*A01_2.npz"):
        read(tmp_path)
