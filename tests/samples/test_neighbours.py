from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from staff_engine.samples import neighbours


def write_embeddings(folder, row_ids, vectors, part=0):
    (folder / "embedding").mkdir(exist_ok=True)
    half = np.asarray(vectors, dtype=np.float16)
    column = pa.FixedSizeListArray.from_arrays(pa.array(half.reshape(-1)), half.shape[1])
    table = pa.table({"row_id": np.asarray(row_ids), "vector": column})
    pq.write_table(table, folder / "embedding" / f"part-{part:05d}.parquet")


@pytest.fixture
def embedded(tmp_path, monkeypatch):
    """300 embeddings in two parts, read in blocks of 64; rows 5 and 7 have none."""
    monkeypatch.setattr(neighbours, "BLOCK", 64)
    rng = np.random.default_rng(1)
    rows = rng.permutation([row for row in range(302) if row not in (5, 7)])
    vectors = (rng.normal(size=(300, 12)) * np.geomspace(6, 0.3, 12) + 5).astype(np.float16)
    write_embeddings(tmp_path, rows[:170], vectors[:170])
    write_embeddings(tmp_path, rows[170:], vectors[170:], part=1)
    by_row = np.full((302, 12), np.nan)
    by_row[rows] = vectors.astype(float)
    return tmp_path, by_row


class TestNearest:
    @pytest.mark.parametrize("row", [0, 100, 301])
    def test_are_those_that_scikit_learn_finds(self, embedded, row):
        from sklearn.metrics.pairwise import cosine_similarity

        folder, vectors = embedded
        own = np.flatnonzero(np.isfinite(vectors[:, 0]))
        alike = cosine_similarity(vectors[own], vectors[[row]])[:, 0]
        alike[own == row] = -np.inf
        expected = own[np.argsort(-alike)[:9]]
        rows, similarities = neighbours.nearest(folder, row, 9)
        assert rows.tolist() == expected.tolist()
        np.testing.assert_allclose(similarities, np.sort(alike)[::-1][:9], atol=1e-5)

    def test_equal_ones_stand_by_row_id(self, tmp_path):
        write_embeddings(tmp_path, [9, 4, 6, 2], [[1, 0], [2, 0], [0, 1], [3, 0]])
        rows, similarities = neighbours.nearest(tmp_path, 4)
        assert rows.tolist() == [2, 9, 6]
        np.testing.assert_allclose(similarities, [1, 1, 0], atol=1e-6)

    def test_a_sample_without_an_embedding_has_none(self, embedded):
        assert len(neighbours.nearest(embedded[0], 5)[0]) == 0

    def test_embeddings_that_point_nowhere_are_no_neighbours(self, tmp_path):
        write_embeddings(tmp_path, [0, 1, 2, 3], [[1, 1], [0, 0], [np.inf, 1], [1, 0]])
        assert neighbours.nearest(tmp_path, 0)[0].tolist() == [3]
        assert len(neighbours.nearest(tmp_path, 1)[0]) == 0

    def test_a_run_without_embeddings_has_none(self, tmp_path):
        assert len(neighbours.nearest(tmp_path, 0)[0]) == 0


class TestMap:
    def results(self, folder, rows=302):
        return SimpleNamespace(folder=folder, num_rows=rows)

    def test_is_the_principal_components_that_scikit_learn_finds(self, embedded):
        from sklearn.decomposition import PCA

        folder, vectors = embedded
        has = np.isfinite(vectors[:, 0])
        pca = PCA(2).fit(vectors[has])
        made = neighbours.embedding_map(self.results(folder))
        signs = np.sign(pca.components_[[0, 1], np.abs(pca.components_).argmax(axis=1)])
        np.testing.assert_allclose(made.coordinates[has], pca.transform(vectors[has]) * signs, atol=2e-3)
        np.testing.assert_allclose(made.explained, pca.explained_variance_ratio_, atol=1e-4)
        assert np.isnan(made.coordinates[[5, 7]]).all()
        assert made.coordinates.dtype == np.float32

    def test_does_not_depend_on_the_blocks(self, embedded, monkeypatch):
        folder, _ = embedded
        small = neighbours.map_coordinates(self.results(folder))
        (folder / neighbours.MAP_FILE).unlink()
        monkeypatch.setattr(neighbours, "BLOCK", 1000)
        np.testing.assert_allclose(neighbours.map_coordinates(self.results(folder)), small, atol=1e-3)

    def test_is_kept_and_made_anew_when_parts_are_added(self, embedded, monkeypatch):
        folder, _ = embedded
        first = neighbours.embedding_map(self.results(folder))
        with monkeypatch.context() as patch:
            patch.setattr(neighbours, "_make_map", None)
            again = neighbours.embedding_map(self.results(folder))
        assert np.array_equal(first.coordinates, again.coordinates, equal_nan=True)
        assert again.explained == first.explained
        write_embeddings(folder, [5], [[30] * 12], part=2)
        assert np.isfinite(neighbours.map_coordinates(self.results(folder))[5]).all()

    def test_a_damaged_file_is_made_anew(self, embedded):
        folder, _ = embedded
        first = neighbours.map_coordinates(self.results(folder))
        (folder / neighbours.MAP_FILE).write_bytes(b"PK\x03\x04 no map")
        assert np.array_equal(neighbours.map_coordinates(self.results(folder)), first, equal_nan=True)

    def test_wide_embeddings_give_much_the_same_axes_from_some_samples(self, embedded, monkeypatch):
        folder, _ = embedded
        whole = neighbours.map_coordinates(self.results(folder))
        (folder / neighbours.MAP_FILE).unlink()
        monkeypatch.setattr(neighbours, "FIT_WORK", 302 * 144 / 2)
        part = neighbours.map_coordinates(self.results(folder))
        has = np.isfinite(whole[:, 0])
        assert not np.array_equal(part[has], whole[has])
        assert abs(np.corrcoef(part[has, 0], whole[has, 0])[0, 1]) > 0.9

    def test_a_run_without_embeddings_has_an_empty_one(self, tmp_path):
        made = neighbours.embedding_map(self.results(tmp_path, 3))
        assert made.empty and made.coordinates.shape == (3, 2)

    def test_embeddings_that_are_all_alike_lie_on_one_spot(self, tmp_path):
        write_embeddings(tmp_path, [0, 1, 2], [[2, 1], [2, 1], [2, 1]])
        made = neighbours.embedding_map(self.results(tmp_path, 3))
        np.testing.assert_allclose(made.coordinates, 0, atol=1e-6)
        assert made.explained == (0.0, 0.0)
