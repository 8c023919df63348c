"""Arrow's views of texts and bytes, as the types that every kernel of pyarrow takes.

pyarrow 26 has no ``take``, ``filter`` or ``dictionary_decode`` for them.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def type_without_views(type_: Any) -> Any:
    """The same type with texts and bytes of 64-bit offsets; also inside of lists and structs."""
    if pa.types.is_string_view(type_):
        return pa.large_string()
    if pa.types.is_binary_view(type_):
        return pa.large_binary()
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(type_without_views(field.type)) for field in type_])
    if pa.types.is_list(type_):
        return pa.list_(type_.value_field.with_type(type_without_views(type_.value_type)))
    if pa.types.is_large_list(type_):
        return pa.large_list(type_.value_field.with_type(type_without_views(type_.value_type)))
    return type_


def without_views(array: Any) -> Any:
    """The same values in that type."""
    plain = type_without_views(array.type)
    return array if plain.equals(array.type) else array.cast(plain)


def decoded_dictionary(array: Any) -> Any:
    """The values that a dictionary's codes stand for."""
    values = without_views(array.dictionary)
    if values.type == array.dictionary.type:
        return array.dictionary_decode()
    return pa.DictionaryArray.from_arrays(array.indices, values).dictionary_decode()


def decoded_runs(array: Any) -> Any:
    """The values of runs, one by one."""
    values = without_views(array.values)
    if values.type != array.values.type:
        whole = pa.RunEndEncodedArray.from_arrays(array.run_ends, values)
        array = whole.slice(array.offset, len(array))
    return pc.call_function("run_end_decode", [array])
