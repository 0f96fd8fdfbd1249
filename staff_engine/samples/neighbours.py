"""Similar samples: nearest neighbours by embedding, and a map of all samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from staff_engine.runs.integrity.check import check_files
from staff_engine.system.arrow import NPZ_ERRORS, open_parquet, read_table, to_numpy
from staff_engine.system.files import replaced

if TYPE_CHECKING:
    from staff_engine.runs.results import Results

MAP_FILE = "map.npz"
MAP_VERSION = 1
"""Increase it when the computation of the map changes, so that older maps are not read."""

BLOCK = 32_768
"""Embeddings in memory at a time."""

FIT_WORK = 4e11
"""Multiplications; if all samples would take more, the map's axes are computed from a random part."""


@dataclass(frozen=True)
class EmbeddingMap:
    """Every sample's position on a plane: the first two principal components of the embeddings."""

    coordinates: np.ndarray
    """float32 (rows, 2): NaN for rows without an embedding."""
    explained: tuple[float, float]
    """Share of the embeddings' variance along each axis, 0 to 1."""

    @property
    def empty(self) -> bool:
        """Whether no row has a position."""
        return not np.isfinite(self.coordinates).any()


def nearest(folder: Path, row_id: int, count: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """The samples with the most similar embeddings by cosine; exact, over all samples.

    Parameters
    ----------
    folder
        A run's folder.
    row_id
        The sample whose neighbours are searched; it is not in the result.
    count
        Maximum number of neighbours.

    Returns
    -------
    row_ids : int64 (n,)
        The nearest first, ties by row id; empty if the sample has no embedding.
    similarities : float32 (n,)
        Cosine of the angle between the embeddings, -1 to 1; higher is more similar.
    """
    check_files(folder, "embedding")
    own = _embedding(folder, row_id)
    row_ids, similarities = np.zeros(0, np.int64), np.zeros(0, np.float32)
    if own is None:
        return row_ids, similarities
    for rows, vectors in _blocks(folder):
        norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        with np.errstate(invalid="ignore", divide="ignore"):
            cosines = (vectors @ own) / norms
        usable = np.isfinite(cosines) & (rows != row_id)
        row_ids = np.concatenate([row_ids, rows[usable]])
        similarities = np.concatenate([similarities, cosines[usable]])
        best = np.lexsort((row_ids, -similarities))[:count]
        row_ids, similarities = row_ids[best], similarities[best]
    return row_ids, np.clip(similarities, -1, 1)


def map_coordinates(results: Results) -> np.ndarray:
    """Each row's position on the map: float32 (rows, 2), NaN for rows without an embedding."""
    return embedding_map(results).coordinates


def embedding_map(results: Results) -> EmbeddingMap:
    """The map of a run's embeddings: read from its folder, or computed and stored there.

    Principal components from the covariance of all embeddings, summed block by block, so memory
    does not grow with the number of samples. If there are too many or too wide embeddings, the
    axes come from a random part of them, and all are mapped. The largest weight of each axis is
    positive, so that the same embeddings always give the same map.
    """
    path = results.folder / MAP_FILE
    key = _key(results)
    kept = _read_map(path, key)
    if kept is not None:
        return kept
    made = _make_map(results)
    try:
        with replaced(path) as part, part.open("wb") as file:
            np.savez(file, key=key, coordinates=made.coordinates, explained=made.explained)
    except OSError:
        pass  # without write access, the map is computed each time
    return made


def _key(results: Results) -> str:
    """Identifies the embeddings that a map was computed from."""
    parts = [
        f"{path.name} {status.st_size} {status.st_mtime_ns}"
        for path in sorted((results.folder / "embedding").glob("part-*.parquet"))
        for status in [path.stat()]
    ]
    return "\n".join([f"map {MAP_VERSION}, {results.num_rows} rows", *parts])


def _read_map(path: Path, key: str) -> EmbeddingMap | None:
    try:
        with path.open("rb") as file, np.load(file) as content:
            if str(content["key"]) != key:
                return None
            first, second = content["explained"].tolist()
            return EmbeddingMap(content["coordinates"], (first, second))
    except NPZ_ERRORS:
        return None


def _make_map(results: Results) -> EmbeddingMap:
    check_files(results.folder, "embedding")
    coordinates = np.full((results.num_rows, 2), np.nan, np.float32)
    fitted = _principal_axes(results)
    if fitted is None:
        return EmbeddingMap(coordinates, (0.0, 0.0))
    mean, axes, explained = fitted
    for rows, vectors in _blocks(results.folder):
        coordinates[rows] = (vectors - mean) @ axes
    return EmbeddingMap(coordinates, explained)


def _principal_axes(results: Results) -> tuple[np.ndarray, np.ndarray, tuple[float, float]] | None:
    """Mean (h,), two axes (h, 2) and the share of variance along each; None without embeddings."""
    count = 0
    drawn = np.random.default_rng(0).random(results.num_rows)
    for rows, vectors in _blocks(results.folder):
        width = vectors.shape[1]
        share = FIT_WORK / (results.num_rows * width**2)
        if share < 1:
            vectors = vectors[drawn[rows] < share]
        if not len(vectors):
            continue
        if not count:
            shift = vectors.mean(axis=0)  # sums of values near 0 keep their precision in float32
            total, products = np.zeros(width), np.zeros((width, width))
        vectors = vectors - shift
        count += len(vectors)
        total += vectors.sum(axis=0, dtype=np.float64)
        products += vectors.T @ vectors
    if not count:
        return None
    mean = total / count
    covariance = products / count - np.outer(mean, mean)
    variances, axes = np.linalg.eigh(covariance)
    axes = axes[:, ::-1][:, :2]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    shares = np.clip(variances[::-1][:2], 0, None) / max(float(variances.sum()), np.finfo(float).tiny)
    if width == 1:
        axes, shares = np.pad(axes, [(0, 0), (0, 1)]), np.append(shares, 0.0)
    return (shift + mean).astype(np.float32), axes.astype(np.float32), (float(shares[0]), float(shares[1]))


def _embedding(folder: Path, row_id: int) -> np.ndarray | None:
    """A sample's embedding, float32 (h,), scaled to length 1; None if it has none, or one of length 0."""
    for rows, vectors in _blocks(folder, row_id):
        indices = np.flatnonzero(rows == row_id)
        if len(indices):
            own: np.ndarray = vectors[indices[0]]
            length = np.linalg.norm(own)
            return own / length if np.isfinite(length) and length > 0 else None
    return None


def _blocks(folder: Path, holding: int | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield row ids and finite embeddings, float32 (n, h); only of parts that contain row `holding`."""
    for path in sorted((folder / "embedding").glob("part-*.parquet")):
        if holding is not None and not (to_numpy(read_table(path, ["row_id"])["row_id"]) == holding).any():
            continue
        with open_parquet(path) as file:
            for batch in file.iter_batches(BLOCK):
                vector = batch.column("vector")
                vectors = vector.flatten().to_numpy().reshape(len(vector), -1).astype(np.float32)
                rows = batch.column("row_id").to_numpy()
                usable = np.isfinite(vectors).all(axis=1)
                yield (rows, vectors) if usable.all() else (rows[usable], vectors[usable])
