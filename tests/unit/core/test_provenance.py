import hashlib
import json

import peculiar
from peculiar.core.provenance import package_version, provenance


def test_inputs_seed_and_settings_are_told(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(b"abc")
    record = provenance({"path": path, "deep": {"values": (1, 2.5, None)}}, inputs=[path], seed=(1, 2))
    assert json.loads(json.dumps(record)) == record
    assert record["inputs"][str(path)] == {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()}
    assert record["settings"] == {"path": str(path), "deep": {"values": [1, 2.5, None]}}
    assert record["seed"] == [1, 2]
    assert record["package"] == "peculiar"
    assert {"version", "revision", "schema_version", "created"} <= set(record)
    assert "seed" not in provenance({})


def test_the_version_is_that_of_the_package():
    assert package_version() == peculiar.__version__ == provenance({})["version"]
