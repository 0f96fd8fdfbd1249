"""Arrow columns → values that JSON has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def to_values(array: pa.Array) -> list[Any]:
    """The values of a column as JSON values, in order; null is None.

    Numbers, booleans and text stay; binary is read as UTF-8 text, where an invalid byte becomes an
    unpaired surrogate; decimals, dates and times are text, as Arrow writes them, so that none is out
    of range; structs are objects; lists are lists; maps are objects if their keys are text, else
    lists of pairs.
    """
    import pyarrow as pa

    kind = array.type
    test = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return to_values(array.storage)
    if test.is_dictionary(kind):
        known = to_values(array.dictionary)
        return [None if index is None else known[index] for index in array.indices.to_pylist()]
    if test.is_run_end_encoded(kind):
        import pyarrow.compute as pc

        return to_values(pc.run_end_decode(array))
    if test.is_struct(kind):
        return _structs(array)
    if test.is_map(kind):
        return _maps(array)
    if kind.num_fields == 1:
        return _lists(array)
    return _leaves(array)


def _leaves(array: pa.Array) -> list[Any]:
    import pyarrow as pa

    kind, test = array.type, pa.types
    if test.is_string(kind) or test.is_large_string(kind) or test.is_string_view(kind):
        try:
            return array.to_pylist()
        except UnicodeDecodeError:
            return [_text(value) for value in array.cast(_bytes_like(kind)).to_pylist()]
    if any(
        is_binary(kind)
        for is_binary in (
            test.is_binary,
            test.is_large_binary,
            test.is_fixed_size_binary,
            test.is_binary_view,
        )
    ):
        return [_text(value) for value in array.to_pylist()]
    if test.is_float16(kind):
        return array.cast(pa.float32()).to_pylist()
    if test.is_duration(kind):
        return array.cast(pa.int64()).to_pylist()
    if test.is_timestamp(kind) and kind.tz is not None:
        return _leaves(array.cast(pa.timestamp(kind.unit, "UTC")).cast(pa.timestamp(kind.unit)))
    if test.is_temporal(kind) or test.is_decimal(kind):
        return array.cast(pa.string()).to_pylist()
    return array.to_pylist()


def _structs(array: pa.Array) -> list[Any]:
    kind = array.type
    names = [kind.field(i).name for i in range(kind.num_fields)]
    if len(set(names)) < len(names):
        raise ValueError(f"an object has a field name twice: {', '.join(names)}")
    columns = [to_values(column) for column in array.flatten()]
    valid = array.is_valid().to_pylist()
    rows = zip(*columns, strict=True) if columns else iter([()] * len(array))
    return [
        dict(zip(names, row, strict=True)) if is_valid else None
        for row, is_valid in zip(rows, valid, strict=True)
    ]


def _lists(array: pa.Array) -> list[Any]:
    import pyarrow.compute as pc

    lengths = pc.list_value_length(array).to_pylist()
    values = to_values(array.flatten())
    lists: list[Any] = []
    start = 0
    for length in lengths:
        lists.append(None if length is None else values[start : start + length])
        start += length or 0
    return lists


def _maps(array: pa.Array) -> list[Any]:
    import pyarrow as pa

    as_objects = pa.types.is_string(array.type.key_type) or pa.types.is_large_string(array.type.key_type)
    offsets = array.offsets.to_pylist()
    keys, items = to_values(array.keys), to_values(array.items)
    maps: list[Any] = []
    for is_valid, start, end in zip(array.is_valid().to_pylist(), offsets[:-1], offsets[1:], strict=True):
        pairs = list(zip(keys[start:end], items[start:end], strict=True))
        maps.append((dict(pairs) if as_objects else [list(pair) for pair in pairs]) if is_valid else None)
    return maps


def _bytes_like(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_large_string(kind):
        return pa.large_binary()
    return pa.binary_view() if pa.types.is_string_view(kind) else pa.binary()


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "surrogateescape")
