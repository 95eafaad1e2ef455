import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from peculiar.catalogues import read_table, write_table
from peculiar.catalogues.tables import table_format

FORMATS = ("fits", "h5", "parquet", "ecsv", "csv")
words = st.text("abcdefgh XYZ_+-.", min_size=1, max_size=9).map(lambda text: f"a{text}".strip())
kinds = {
    "float": (np.float64, st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False)),
    "single": (np.float32, st.floats(width=32, allow_nan=False, allow_infinity=False, allow_subnormal=False)),
    "whole": (np.int64, st.integers(-(2**62), 2**62)),
    "small": (np.int16, st.integers(-(2**15), 2**15 - 1)),
    "word": ("U12", words),
}


@st.composite
def tables(draw):
    rows = draw(st.integers(1, 5))
    chosen = draw(st.lists(st.sampled_from(sorted(kinds)), min_size=1, max_size=5))
    columns = {"x": draw(arrays(np.float64, rows, elements=st.floats(-1e3, 1e3, allow_subnormal=False)))}
    for number, kind in enumerate(chosen):
        dtype, elements = kinds[kind]
        columns[f"{kind}_{number}"] = draw(arrays(dtype, rows, elements=elements))
    return Table(columns)


@pytest.mark.parametrize("suffix", FORMATS)
@given(table=tables())
def test_a_table_comes_back_as_it_was(tmp_path_factory, suffix, table):
    path = tmp_path_factory.mktemp("table") / f"table.{suffix}"
    write_table(path, table.copy(), kind=table_format(path))
    found = read_table(path)
    assert found.colnames == table.colnames
    for name in table.colnames:
        written, read = np.asarray(table[name]), np.asarray(found[name])
        if written.dtype.kind == "U":
            read = np.char.decode(read) if read.dtype.kind == "S" else read.astype(str)
        assert np.array_equal(read, written), (name, read, written)
        if suffix != "csv":  # which does not say how many bytes
            assert read.dtype.kind == written.dtype.kind
