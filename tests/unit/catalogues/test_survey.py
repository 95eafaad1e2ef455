import pytest

from peculiar.catalogues.groups import Linking
from peculiar.catalogues.luminosity import FluxLimit
from peculiar.catalogues.survey import Survey, load_survey, make_survey, survey_names
from peculiar.core import InputError

TEXT = """
name = "mine"
frame = "local-group"
mask = "maps/mask.fits"
randoms = "/data/randoms.fits"
redshifts = [0.01, 0.05]
radial = "flux-limited"
full_density = 5e-3
columns = {z = "Z_LG", magnitude = "R"}
groups = "collapse"
[flux_limit]
faintest = 17.6
absolute = [-23, -17.5]
k_correction = 1.0
[linking]
perpendicular = 0.1
[box]
size = 300
origin = [-150, -150, 0]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    return path


def test_a_survey_file(file):
    survey = load_survey(file)
    assert survey.mask == file.parent / "maps" / "mask.fits"
    assert [str(path) for path in survey.randoms] == ["/data/randoms.fits"]
    assert survey.flux_limit == FluxLimit(17.6, absolute=(-23.0, -17.5), k_correction=1.0)
    assert survey.linking == Linking(perpendicular=0.1)
    assert survey.redshifts == (0.01, 0.05)
    box = survey.box.box()
    assert (box.size, box.origin, box.periodic) == (300.0, (-150.0, -150.0, 0.0), False)


def test_changes_win_over_the_file(file):
    survey = load_survey(file)
    changed = survey.with_changes({"distances": (10.0, 50.0), "frame": None, "columns": {"ra": "RA"}})
    assert changed.distances == (10.0, 50.0)
    assert changed.redshifts is None
    assert changed.frame == "local-group"
    assert changed.columns == {"ra": "RA", "z": "Z_LG", "magnitude": "R"}
    assert survey.with_changes({"radial": "flat"}).flux_limit is None
    assert survey.with_changes({}) == survey
    with pytest.raises(InputError, match="frame must be valid in survey"):
        survey.with_changes({"frame": "galactic"})


def test_the_survey_that_comes_with_the_package():
    assert "sdss_dr7" in survey_names()
    survey = load_survey("sdss_dr7")
    assert survey.mask.is_file()
    assert survey.frame == "heliocentric"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("frame", "fraem", "fraem must be valid in mine.toml"),
        ("17.6", '"faint"', "flux_limit.faintest must be valid"),
        ("k_correction", "kcorrection", "flux_limit.kcorrection must be valid"),
        ("[-23, -17.5]", "[-17.5, -23]", "in this order"),
        ("0.1\n", "-0.1\n", "linking length perpendicular must be > 0"),
        ("[0.01, 0.05]", "[0.05, 0.01]", "redshifts must be 0 <= low < high, got 0.05, 0.01"),
        ("redshifts =", "distances = [1, 2]\nredshifts =", "not both"),
        ('"flux-limited"', '"flat"', "belong together"),
        ("{z =", "{redshift =", "columns must map ra, dec, z, mass, weight, magnitude, nz, got redshift"),
        ("name = ", "name = = ", "survey must be a TOML file"),
    ],
)
def test_wrong_files(file, old, new, words):
    file.write_text(TEXT.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        load_survey(file)
    assert words in str(caught.value)


def test_missing_files_and_settings():
    with pytest.raises(InputError, match="or one of boss_cmass, .*sdss_dr7, sdss_main, .*got 'other'"):
        load_survey("other")
    with pytest.raises(InputError, match="that exists"):
        load_survey("none.toml")
    with pytest.raises(InputError, match="padding must be valid in survey: .* got -1"):
        make_survey({"padding": -1})
    assert make_survey({}) == Survey()
