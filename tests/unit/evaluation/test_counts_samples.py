import pytest

from peculiar.core import InputError, OutOfRangeWarning
from peculiar.evaluation.counts.samples import MassRange, mass_ranges

SIX = tuple(10.0**x for x in (11.8, 12, 12.5, 13, 13.5, 14, 16))
FOUR = tuple(10.0**x for x in (12, 12.5, 13, 13.5, 14))


def test_ranges_of_painters_with_different_bins():
    labels = [one.label for one in mass_ranges([SIX, FOUR])]
    assert labels == [
        "11.8-16",
        "12-14",
        "11.8-12",
        "12-12.5",
        "12.5-13",
        "13-13.5",
        "13.5-14",
        "14-16",
    ]
    assert [one.label for one in mass_ranges([(1e12, 1e13)])] == ["12-13"]


def test_bins_of_halos_that_are_not_resolved_are_left_out():
    with pytest.warns(OutOfRangeWarning, match=r"below 8e\+11 Msun/h are left out"):
        labels = [one.label for one in mass_ranges([SIX, FOUR], resolved=8e11)]
    assert labels == ["12-16", "12-14", "12-12.5", "12.5-13", "13-13.5", "13.5-14", "14-16"]
    with pytest.raises(InputError, match=r"halos are resolved, from 2e\+14"):
        mass_ranges([FOUR], resolved=2e14)


@pytest.mark.parametrize(
    ("low", "high", "edges", "expected"),
    [
        (1e12, 1e14, SIX, slice(1, 5)),
        (1e12, 1e14, FOUR, slice(0, 4)),
        (10**11.8, 1e16, FOUR, None),
        (10**12.5, 10**12.7, SIX, None),
    ],
)
def test_bins_that_are_a_range_together(low, high, edges, expected):
    assert MassRange(low, high).bins_of(edges) == expected
