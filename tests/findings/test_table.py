import anndata
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from cellfx.data.cpu_tensorflow import import_tensorflow
from cellfx.data.source import SPLITS, Source, Split
from cellfx.findings import subject, table
from cellfx.runs import experiment, results

COUNTS = {"train": 300, "valid": 0, "test": 7}
CLASSES = ("a", "b", "c")


def of_counts(counts=COUNTS, streamed=False):
    """Images whose first pixel is their place among all, with everything that a split may tell of them."""
    rng, splits, start = np.random.default_rng(0), {}, 0
    for name, count in counts.items():
        place = np.arange(start, start + count)
        start += count
        arrays = {
            "x": np.tile((place % 65_536).astype(np.uint16)[:, None, None, None], (1, 2, 2, 1)),
            "label": (place % 3).astype(np.int32),
            "group": (place // 50).astype(np.int32),
            "factors": rng.random((count, 2)).astype(np.float32),
        }
        known = {"Metadata_File": np.array([f"{i}.png" for i in place], np.str_), "Metadata_Well": place / 2}
        splits[name] = Split(count, arrays, metadata=known)
    if streamed:
        splits = {name: stream(split) for name, split in splits.items()}
    return Source("cells", (2, 2, 1), splits, CLASSES, ("width", "height"))


def stream(split):
    def examples():
        return import_tensorflow().data.Dataset.from_tensor_slices(dict(split.arrays))

    return split._replace(arrays=None, examples=examples)


def encode(x):
    """The image's place and its negative."""
    place = x[:, 0, 0, 0] * np.float32(65_535)
    return np.stack([place, -place], axis=1), np.zeros((len(x), 2), np.float32)


def written(path, source, split=None):
    return table.write(path, table.table(source, encode, table.chosen(source, split)))


def expected(source):
    parts = [(name, source.splits[name]) for name in SPLITS if source.splits[name].num_examples]
    columns = {
        "Metadata_Split": np.concatenate([np.full(part.num_examples, name) for name, part in parts]),
        "Metadata_Label": np.concatenate([part.arrays["label"] for _, part in parts]),
        "Metadata_Group": np.concatenate([part.arrays["group"] for _, part in parts]),
        "Metadata_Factor_width": np.concatenate([part.arrays["factors"][:, 0] for _, part in parts]),
        "Metadata_Factor_height": np.concatenate([part.arrays["factors"][:, 1] for _, part in parts]),
        "Metadata_File": np.concatenate([part.metadata["Metadata_File"] for _, part in parts]),
        "Metadata_Well": np.concatenate([part.metadata["Metadata_Well"] for _, part in parts]),
    }
    columns["Metadata_Class"] = np.array(CLASSES)[columns["Metadata_Label"]]
    return columns


@pytest.mark.parametrize("streamed", [False, True])
def test_a_parquet_table_holds_every_image_in_its_order(tmp_path, streamed, monkeypatch):
    monkeypatch.setattr(table, "ROWS_PER_WRITE", 256)
    path = tmp_path / "latents.parquet"
    assert written(path, of_counts(streamed=streamed)) == 307
    found = pl.read_parquet(path)
    assert found.columns[-2:] == ["z000", "z001"]
    assert found.schema["z000"] == found.schema["z001"] == pl.Float32
    place = np.arange(307, dtype=np.float32)
    np.testing.assert_allclose(found["z000"].to_numpy(), place, atol=1e-2)
    np.testing.assert_array_equal(found["z001"].to_numpy(), -found["z000"].to_numpy())
    assert set(found.columns[:-2]) == set(expected(of_counts()))
    for name, values in expected(of_counts()).items():
        np.testing.assert_array_equal(found[name].to_numpy(), values)
    assert [path.name for path in tmp_path.iterdir()] == ["latents.parquet"]
    assert pq.ParquetFile(path).num_row_groups == 3


@pytest.mark.parametrize("streamed", [False, True])
def test_an_anndata_file_is_what_anndata_reads(tmp_path, streamed, monkeypatch):
    monkeypatch.setattr(table, "ROWS_PER_WRITE", 256)
    path = tmp_path / "latents.h5ad"
    assert written(path, of_counts(streamed=streamed)) == 307
    found = anndata.read_h5ad(path)
    assert found.shape == (307, 2)
    assert found.X.dtype == np.float32
    np.testing.assert_allclose(found.X[:, 0], np.arange(307), atol=1e-2)
    np.testing.assert_array_equal(found.X[:, 1], -found.X[:, 0])
    assert list(found.var_names) == ["z000", "z001"]
    assert found.obs_names.is_unique
    assert list(found.obs_names[[0, 299, 300, 306]]) == ["train/0", "train/299", "test/0", "test/6"]
    assert set(found.obs.columns) == set(expected(of_counts()))
    for name, values in expected(of_counts()).items():
        np.testing.assert_array_equal(found.obs[name].to_numpy(), values)


def test_anndata_writes_the_file_again_as_it_was(tmp_path):
    written(tmp_path / "latents.h5ad", of_counts())
    first = anndata.read_h5ad(tmp_path / "latents.h5ad")
    first.copy().write_h5ad(tmp_path / "again.h5ad")
    again = anndata.read_h5ad(tmp_path / "again.h5ad")
    np.testing.assert_array_equal(again.X, first.X)
    for name in first.obs:
        np.testing.assert_array_equal(again.obs[name].to_numpy(), first.obs[name].to_numpy())


def test_one_split_can_be_chosen(tmp_path):
    written(tmp_path / "test.parquet", of_counts(), "test")
    found = pl.read_parquet(tmp_path / "test.parquet")
    assert found["Metadata_Split"].to_list() == ["test"] * 7
    assert found["Metadata_File"].to_list() == [f"{i}.png" for i in range(300, 307)]


def test_data_of_which_nothing_is_known_has_latents_alone(tmp_path):
    images = {"x": np.zeros((5, 2, 2, 1), np.uint8)}
    written(tmp_path / "latents.parquet", Source("bare", (2, 2, 1), {"train": Split(5, images)}))
    assert pl.read_parquet(tmp_path / "latents.parquet").columns == ["Metadata_Split", "z000", "z001"]


@pytest.mark.parametrize(
    ("counts", "split", "message"),
    [
        (
            COUNTS,
            "valid",
            "nothing to embed: got no image in valid of cells, expected at least one; choose --split train",
        ),
        (
            {"train": 0, "test": 0},
            None,
            "nothing to embed: got no image in any split of cells, expected at least one; ",
        ),
        ({"train": 3}, "test", "nothing to embed: got no image in test of cells, expected at least one; choose"),
        (COUNTS, "tset", "unknown split: got 'tset', expected one of train, valid, test; change --split"),
    ],
)
def test_without_an_image_there_is_no_table(counts, split, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        table.chosen(of_counts(counts), split)


@pytest.mark.parametrize("suffix", ["parquet", "h5ad"])
def test_a_table_that_cannot_be_finished_leaves_the_old_one(tmp_path, suffix):
    path = tmp_path / f"latents.{suffix}"
    path.write_bytes(b"old")

    def failing():
        yield next(table.table(of_counts(), encode, table.chosen(of_counts())))
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        table.write(path, failing())
    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_what_cannot_be_written_is_refused_before_the_run_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "restore", lambda workdir: pytest.fail("the run was read"))
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(
        ValueError, match=r"^unknown kind of table: got 'l\.csv', expected a name that ends in \.parquet or"
    ):
        results.embed(tmp_path, tmp_path / "l.csv")
    with pytest.raises(
        FileNotFoundError, match=r"^no folder for the table: got .*, expected .* to be there; make it or"
    ):
        results.embed(tmp_path, tmp_path / "missing" / "l.parquet")
    with pytest.raises(IsADirectoryError, match=r"^the table would replace a folder: got .*, expected a file; change"):
        results.embed(tmp_path, tmp_path / "folder.parquet")


def test_memory_is_bounded_by_the_rows_of_a_write(monkeypatch):
    monkeypatch.setattr(table, "ROWS_PER_WRITE", 2 * subject.BATCH_SIZE)
    source = of_counts({"train": 5 * subject.BATCH_SIZE + 3, "test": 9})
    sizes = [len(rows.latents) for rows in table.table(source, encode, table.chosen(source))]
    assert sizes == [512, 512, 256 + 3, 9]


def test_the_latents_of_a_run_are_those_of_its_model(finished, tmp_path, capsys):
    results.embed(finished, tmp_path / "latents.parquet")
    assert "latents.parquet: 256 images of train, valid, test" in capsys.readouterr().out
    found = pl.read_parquet(tmp_path / "latents.parquet")
    built = experiment.restore(finished)
    encode, _ = experiment.coder(built)
    for name in SPLITS:
        images = built.source.splits[name].arrays["x"].astype(np.float32) / 255
        rows = found.filter(pl.col("Metadata_Split") == name)
        latents = rows.select([f"z{i:03d}" for i in range(6)]).to_numpy()
        np.testing.assert_allclose(latents, np.asarray(encode(images)[0]), rtol=1e-5, atol=1e-6)
        assert rows["Metadata_Class"].to_list() == [
            built.source.class_names[label] for label in built.source.splits[name].arrays["label"]
        ]
