import json
import sys

import anndata
import h5py
import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from cellfx.profiles.tables.reading import read, scan


def annotated(matrix):
    obs = pd.DataFrame(
        {
            "plate": pd.Categorical(["b", None, "a", "b"], categories=["a", "b"]),
            "Metadata_Well": ["A01", "A02", "Ä03", "A04"],
            "dose": [0.5, np.nan, 1.0, 2.0],
            "control": [True, False, True, False],
            "count": pd.array([1, None, 3, 4], dtype="Int64"),
            "grade": pd.Categorical([3, 1, 1, 3]),
        },
        index=["w", "x", "y", "z"],
    )
    return anndata.AnnData(matrix, obs=obs, var=pd.DataFrame(index=["f0", "f1", "f2"]))


def store(data, path):
    data.write_zarr(path) if path.suffix == ".zarr" else data.write_h5ad(path)


DENSE = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
DENSE[1, 2] = 0


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
@pytest.mark.parametrize("make", [np.array, sparse.csr_matrix, sparse.csc_matrix])
def test_equals_what_anndata_wrote(kind, make, tmp_path):
    path = tmp_path / f"t.{kind}"
    store(annotated(make(DENSE)), path)
    profiles = read(path)
    assert profiles.names == ("f0", "f1", "f2")
    np.testing.assert_array_equal(profiles.features, DENSE.astype(np.float64))
    assert {name: column.to_list() for name, column in profiles.metadata.fill_nan(None).to_dict().items()} == {
        "Metadata_Index": ["w", "x", "y", "z"],
        "Metadata_plate": ["b", None, "a", "b"],
        "Metadata_Well": ["A01", "A02", "Ä03", "A04"],
        "Metadata_dose": [0.5, None, 1.0, 2.0],
        "Metadata_control": [True, False, True, False],
        "Metadata_count": [1, None, 3, 4],
        "Metadata_grade": [3, 1, 1, 3],
    }
    assert scan(path).select("f1").collect()["f1"].to_list() == DENSE[:, 1].astype(float).tolist()


def test_an_index_with_a_name(tmp_path):
    data = annotated(DENSE)
    data.obs.index.name = "barcode"
    store(data, tmp_path / "t.h5ad")
    assert read(tmp_path / "t.h5ad").metadata["Metadata_barcode"].to_list() == ["w", "x", "y", "z"]


def test_categories_as_they_were_written_before_0_8(tmp_path):
    store(annotated(DENSE), tmp_path / "t.h5ad")
    with h5py.File(tmp_path / "t.h5ad", "a") as file:
        codes, categories = (file["obs/plate"][name][...] for name in ("codes", "categories"))
        del file["obs/plate"]
        file["obs/__categories/plate"] = categories
        file["obs/plate"] = codes
        file["obs/plate"].attrs["categories"] = file["obs/__categories/plate"].ref
    assert read(tmp_path / "t.h5ad").metadata["Metadata_plate"].to_list() == ["b", None, "a", "b"]


def test_what_embed_writes(tmp_path):
    from cellfx.findings import table

    rows = table.Rows(np.array(["train/0", "train/1"]), {"Metadata_Plate": np.array(["p", "q"])}, DENSE[:2])
    for kind in ("h5ad", "parquet"):
        table.write(tmp_path / f"t.{kind}", iter([rows]))
        profiles = read(tmp_path / f"t.{kind}")
        assert profiles.names == ("z000", "z001", "z002")
        np.testing.assert_array_equal(profiles.features, DENSE[:2].astype(np.float64))
        assert profiles.metadata["Metadata_Plate"].to_list() == ["p", "q"]
    assert read(tmp_path / "t.h5ad").metadata["Metadata_Index"].to_list() == ["train/0", "train/1"]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", ["X", "obs/Metadata_Well", "var/_index"])
def test_a_pickled_array_is_refused(zarr_format, name, tmp_path):
    path = tmp_path / "t.zarr"
    with anndata.settings.override(zarr_write_format=zarr_format):
        store(annotated(DENSE), path)
    assert read(path).features.shape == (4, 3)
    description = path / name / (".zarray" if zarr_format == 2 else "zarr.json")
    fields = json.loads(description.read_text())
    if zarr_format == 2:
        fields["filters"] = [{"id": "pickle", "protocol": 4}]
    else:
        fields["codecs"] = [{"name": "numcodecs.pickle", "configuration": {}}, *fields["codecs"]]
    description.write_text(json.dumps(fields))
    with pytest.raises(ValueError, match=rf"a pickled array: got .*{name}/.*, expected numbers or text"):
        read(path)


def test_bad_input(tmp_path, monkeypatch):
    (tmp_path / "a.h5ad").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"no AnnData: got .*a.h5ad \(.*\), expected an HDF5 file"):
        read(tmp_path / "a.h5ad")
    h5py.File(tmp_path / "b.h5ad", "w").create_group("X")
    with pytest.raises(ValueError, match=r"no AnnData: got .*b.h5ad without obs, var, expected X, obs and var"):
        read(tmp_path / "b.h5ad")
    (tmp_path / "c.zarr").mkdir()
    with pytest.raises(ValueError, match=r"no AnnData: got .*c.zarr, expected a zarr group"):
        read(tmp_path / "c.zarr")
    data = annotated(DENSE)
    data.obs["Metadata_plate"] = "p"
    store(data, tmp_path / "d.h5ad")
    with pytest.raises(ValueError, match=r"columns that would have one name: got .* 3 features of 3 names and the met"):
        read(tmp_path / "d.h5ad")
    store(annotated(DENSE), tmp_path / "e.h5ad")
    for item, name in (("X", "'odd' for X"), ("obs", "'odd' for /obs"), ("obs/dose", "'odd' for /obs/dose")):
        with h5py.File(tmp_path / "e.h5ad", "a") as file:
            kept, file[item].attrs["encoding-type"] = file[item].attrs["encoding-type"], "odd"
        with pytest.raises(ValueError, match=f"an encoding that is not known: got {name} in .*e.h5ad, expected arrays"):
            read(tmp_path / "e.h5ad")
        with h5py.File(tmp_path / "e.h5ad", "a") as file:
            file[item].attrs["encoding-type"] = kept
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(ValueError, match=r"cannot read .*c.zarr: got no package zarr, expected it to be installed"):
        read(tmp_path / "c.zarr")


def test_no_metadata_at_all(tmp_path):
    store(anndata.AnnData(DENSE), tmp_path / "t.h5ad")
    profiles = read(tmp_path / "t.h5ad")
    assert profiles.metadata.equals(pl.DataFrame({"Metadata_Index": ["0", "1", "2", "3"]}))
