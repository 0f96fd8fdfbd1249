"""Groups of samples whose token triples are almost the same.

Shapes: n samples, s token triples of a block of samples, p pairs. Memory does not grow with the
length of the samples: 128 to 512 bytes are kept for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from staff_engine.data.repeats.minhash import bands_for, group_alike, sketches
from staff_engine.data.tokens import TokenTable, open_tokens
from staff_engine.system.arrow import NPZ_ERRORS
from staff_engine.system.files import replaced

TRIPLE = 3
COMMON, FEWEST_COMMON = 0.01, 50
"""A triple in more than this share of the samples, and in more than this number, is part of a template."""

SAMPLES_IN_BLOCK, PAIRS_IN_BLOCK = 8192, 4096
HASH_BITS = 44
SKETCH_BITS = 22
_HASH = np.uint64(2**HASH_BITS - 1)
_SHIFT = np.uint64(HASH_BITS)
_FACTOR = np.uint64(0x9E3779B97F4A7C15)

VERSION = 1
"""Increase it when the groups change, so that stored ones are not read."""


def near_duplicates(tokens: TokenTable, rows: int, *, threshold: float) -> np.ndarray:
    """Group samples that have at least a share of their token triples in common.

    Parameters
    ----------
    tokens
        The samples. Other rows are in no group.
    rows
        Number of all rows.
    threshold
        Minimum Jaccard similarity of two samples' sets of triples: triples in both divided by
        triples in either; above 0, at most 1. Samples with equal tokens always belong together.

    Returns
    -------
    int64 (rows,)
        The lowest row id of each row's group; its own row id if it is alone.

    Notes
    -----
    MinHash with banding (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets,
    chapter 3). Every pair that is found is compared exactly. A pair at the threshold is found with
    a probability of at least `minhash.RECALL`, and more similar ones with a higher probability. A group is a
    connected component: A and C belong together if both are similar to B. Triples that are common to
    many samples (a system prompt, headings) are left out. If nothing else is left, a sample belongs
    only to samples with equal tokens.
    """
    whole, bands = _signatures(tokens, _common(tokens), bands_for(threshold))
    first, same = np.unique(whole, return_index=True, return_inverse=True)[1:]
    labels = first[same]  # the first sample with equal tokens
    usable = np.flatnonzero((labels == np.arange(len(labels))) & bands.any(axis=1))
    labels = group_alike(
        labels, bands.T, usable, lambda pairs: _similarities(tokens, pairs), threshold=threshold
    )
    groups = np.arange(rows)
    groups[tokens.row_ids] = tokens.row_ids[labels]
    return groups


def kept_near_duplicates(path: Path, rows: int, *, threshold: float) -> np.ndarray:
    """The groups of `near_duplicates` for a token file; stored beside it, and read from there.

    Parameters
    ----------
    path
        A file that `tokens.open_tokens` reads.
    """
    kept = path.with_name("near_duplicates.npz")
    key = f"near duplicates {VERSION}, {threshold:.9g}, {rows} rows, {path.stat().st_size} bytes of tokens"
    try:
        with kept.open("rb") as file, np.load(file) as content:
            if str(content["key"]) == key:
                groups: np.ndarray = content["groups"]
                return groups
    except NPZ_ERRORS:
        pass
    groups = near_duplicates(open_tokens(path), rows, threshold=threshold)
    try:
        with replaced(kept) as part, part.open("wb") as written:
            np.savez_compressed(written, key=key, groups=groups)
    except OSError:
        pass  # without write access, they are computed each time
    return groups


def _blocks(tokens: TokenTable) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
    for start in range(0, len(tokens), SAMPLES_IN_BLOCK):
        block = slice(start, min(start + SAMPLES_IN_BLOCK, len(tokens)))
        yield block, *tokens.joined(np.arange(block.start, block.stop))


def _common(tokens: TokenTable) -> np.ndarray:
    """Whether the triples of each cell of a hash table are in many samples: bool (2**SKETCH_BITS,)."""
    counts = np.zeros(2**SKETCH_BITS, dtype=np.int32)
    for _, ids, lengths in _blocks(tokens):
        np.add.at(counts, _cells(_triples(ids, lengths)), 1)
    common: np.ndarray = counts > max(FEWEST_COMMON, COMMON * len(tokens))
    return common


def _signatures(tokens: TokenTable, common: np.ndarray, bands: int) -> tuple[np.ndarray, np.ndarray]:
    """A hash of all tokens of each sample, uint64 (n,), and of its MinHashes, uint64 (n, bands).

    The second is 0 for a sample without triples of its own.
    """
    whole = np.zeros(len(tokens), np.uint64)
    signatures = np.zeros((len(tokens), bands), np.uint64)
    for block, ids, lengths in _blocks(tokens):
        whole[block] = _hash_of_all(ids, lengths)
        triples = _triples(ids, lengths)
        triples = triples[~common[_cells(triples)]]
        owners, starts = np.unique(triples >> _SHIFT, return_index=True)
        if not len(owners):
            continue
        hashes = (triples & np.uint64(2**32 - 1)).astype(np.uint32)
        signatures[block.start + owners.astype(np.int64)] = sketches(hashes, starts, bands)
    return whole, signatures


def _triples(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The different triples of each sample of a block, uint64 (s,), ascending.

    Each has the index of the sample in its upper bits and a hash of the triple in the others. A
    sample of fewer than three tokens has one triple.
    """
    owners = np.repeat(np.arange(len(lengths)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(ids))  # tokens from here to the end
    begins = left >= np.minimum(TRIPLE, lengths)[owners]
    hashed = np.zeros(np.count_nonzero(begins), np.uint64)
    starts = np.flatnonzero(begins)
    for step in range(TRIPLE):
        token = ids[np.minimum(starts + step, len(ids) - 1)].astype(np.uint64) + np.uint64(1)
        hashed = _mixed(hashed + np.where(step < left[starts], token, np.uint64(0)))
    keys = owners[starts].astype(np.uint64) << _SHIFT | hashed >> np.uint64(64 - HASH_BITS)
    keys.sort()  # faster than np.unique, which builds a hash table
    return keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys


def _hash_of_all(ids: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """A hash of the tokens of each sample and their order, uint64 (b,)."""
    starts = np.cumsum(lengths) - lengths
    places = np.arange(len(ids)) - np.repeat(starts, lengths)
    hashed = _mixed(_mixed(ids.astype(np.uint64) + np.uint64(1)) + places.astype(np.uint64) * _FACTOR)
    return np.add.reduceat(hashed, starts)


def _mixed(words: np.ndarray) -> np.ndarray:
    """A bijection of 64-bit words: the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    words = words + _FACTOR
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
    return words ^ (words >> np.uint64(31))


def _cells(triples: np.ndarray) -> np.ndarray:
    return (triples & np.uint64(2**SKETCH_BITS - 1)).astype(np.intp)


def _similarities(tokens: TokenTable, pairs: np.ndarray) -> np.ndarray:
    """Jaccard similarity of the triples of each pair, float64 (p,)."""
    found = np.zeros(len(pairs))
    for start in range(0, len(pairs), PAIRS_IN_BLOCK):
        block = pairs[start : start + PAIRS_IN_BLOCK]
        members, places = np.unique(block, return_inverse=True)
        triples = _triples(*tokens.joined(members))
        ends = np.searchsorted(triples >> _SHIFT, np.arange(len(members) + 1, dtype=np.uint64))
        sizes = np.diff(ends)
        both = []
        for side in places.reshape(block.shape).T:
            own = sizes[side]
            within = np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own)
            hashes = triples[np.repeat(ends[side], own) + within] & _HASH
            both.append(np.repeat(np.arange(len(block), dtype=np.uint64), own) << _SHIFT | hashes)
        joined = np.sort(np.concatenate(both))
        shared = np.bincount(
            (joined[1:][joined[1:] == joined[:-1]] >> _SHIFT).astype(np.intp), minlength=len(block)
        )
        either = sizes[places.reshape(block.shape)].sum(axis=1) - shared
        found[start : start + len(block)] = shared / np.maximum(either, 1)
    return found
