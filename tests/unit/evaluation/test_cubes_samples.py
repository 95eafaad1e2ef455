import pytest

from peculiar.core.errors import InputError
from peculiar.evaluation.cubes.samples import choose_samples, read_samples

SAMPLE = """
[[samples]]
name = "mine"
pattern = "survey"
survey = "mine.toml"
number_density = 1e-3
"""


def test_samples_have_the_papers_densities():
    samples = choose_samples(None)
    assert next(iter(samples)) == "simulation"
    assert samples["galaxies"].number_density == 7.8e-3
    assert samples["groups"].number_density == 5.2e-3
    assert samples["above 1e12"].least_mass == 1e12
    assert all(sample.cells == 60 for sample in samples.values())


def test_samples_of_a_file_stand_beside_the_packages(tmp_path):
    (tmp_path / "samples.toml").write_text(SAMPLE)
    chosen = choose_samples(["groups", str(tmp_path / "samples.toml")])
    assert list(chosen) == ["groups", "mine"]
    assert chosen["mine"].survey == str(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[samples]", "samples must be a TOML file"),
        ("samples = 3", "samples must be valid in samples.toml"),
        ("", "samples must be valid in samples.toml"),
        (SAMPLE + "radial = 'flat'", "radial must be valid"),
        (2 * SAMPLE, "names of their own"),
    ],
)
def test_files_of_samples_that_are_wrong(tmp_path, text, words):
    (tmp_path / "samples.toml").write_text(text)
    with pytest.raises(InputError, match=words):
        read_samples(tmp_path / "samples.toml")


def test_other_names_are_refused():
    with pytest.raises(InputError, match="samples must be of simulation, .*or a .toml file, got 'x'"):
        choose_samples(["x"])
