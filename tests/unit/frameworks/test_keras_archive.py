"""A ``.keras`` file, or weights, with code or with data that lies elsewhere: refused unread."""

import io
import json
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

from harness.core import archives
from harness.core.errors import UsageError

keras = pytest.importorskip("keras")
h5py = pytest.importorskip("h5py")

from harness.frameworks import keras_model  # noqa: E402
from tests.support import own_keras  # noqa: E402

KERNEL = "layers/dense/vars/0"


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    path = tmp_path_factory.mktemp("honest") / "net.keras"
    own_keras.on_frames(keras.layers.Dense(3, activation="relu")).save(path)
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder, first on the path, with modules that Keras would import from it."""
    for name in ("planted_module", "keras_hub", "keras_cv"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\n")
    np.ones(12, np.float32).tofile(tmp_path / "secret.bin")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.ones((4, 3), np.float32)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def entries_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(entries):
    with zipfile.ZipFile("evil.keras", "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return Path("evil.keras")


def layer(**changes):
    """Changes the configuration of the only layer."""

    def attack(entries):
        config = json.loads(entries["config.json"])
        config["config"]["layers"][1].update(changes)
        entries["config.json"] = json.dumps(config).encode()

    return attack


def function(module, name):
    named = {"module": module, "class_name": "function", "config": name, "registered_name": name}
    return layer(config={"name": "dense", "units": 3, "activation": named})


def weights(change):
    """Changes the HDF5 file of the weights, whose first kernel is taken away."""

    def attack(entries):
        data = io.BytesIO(entries["model.weights.h5"])
        with h5py.File(data, "a") as file:
            file["kept"] = file[KERNEL]
            del file[KERNEL]
            change(file)
        entries["model.weights.h5"] = data.getvalue()

    return attack


def linked(file):
    file[KERNEL] = h5py.ExternalLink("secret.h5", "/x")


def soft(file):
    file[KERNEL] = h5py.SoftLink("/kept")


def external(file):
    file.create_dataset(KERNEL, (4, 3), "f4", external=[("secret.bin", 0, 48)])


def virtual(file):
    layout = h5py.VirtualLayout((4, 3), "f4")
    layout[:] = h5py.VirtualSource("secret.h5", "x", shape=(4, 3))
    file.create_virtual_dataset(KERNEL, layout)


def huge(file):
    file.create_dataset(KERNEL, (2**40, 3), "f4", chunks=(1024, 3), compression="gzip")


def older_lambda(entries):
    old = {"class_name": "Lambda", "config": {"name": "d", "function": ["", None, None]}}
    config = {"class_name": "Sequential", "module": "keras", "config": {"layers": [old]}}
    entries["config.json"] = json.dumps(config).encode()


LINK = "is a link; expected data in the file itself"
ELSEWHERE = "takes its data from another file; expected data in the file itself"
ATTACKS = {
    "a module": (layer(module="planted_module", class_name="X"), "here (planted_module.X)"),
    "Python's own": (layer(module="os", class_name="system"), "not here (os.system)"),
    "one that Keras imports": (layer(module="keras_hub", class_name="X"), "here (keras_hub.X)"),
    "one inside it": (layer(module="keras_cv.a", class_name="X"), "not here (keras_cv.a.X)"),
    "a function": (function("planted_module", "x"), "not here (planted_module.x)"),
    "a function that reads": (
        function("keras.datasets.mnist", "load_data"),
        "(keras.datasets.mnist.load_data)",
    ),
    "a lambda": (layer(class_name="__lambda__", config={"value": {}}), "has a Lambda layer"),
    "a lambda of Keras 2": (older_lambda, "has a Lambda layer"),
    "a saved model": (
        layer(class_name="TFSMLayer", config={"filepath": "saved", "call_endpoint": "serve"}),
        "has a TFSMLayer, which runs what another file holds",
    ),
    "a pickled module": (layer(class_name="TorchModuleWrapper"), "has a TorchModuleWrapper"),
    "a vocabulary's path": (
        layer(class_name="StringLookup", config={"name": "d", "vocabulary": "/etc/passwd"}),
        "needs a class that is not here",
    ),
    "a name": (layer(config={"name": "\x1b[2J"}), "the name of a Dense: '\\x1b[2J'; expected"),
    "a link to a file": (weights(linked), LINK),
    "a link": (weights(soft), LINK),
    "data of a file": (weights(external), ELSEWHERE),
    "data of other datasets": (weights(virtual), ELSEWHERE),
    "a size": (weights(huge), "expected at most 8,589,934,592"),
    "no HDF5": (lambda e: e.update({"model.weights.h5": b"x"}), "no readable HDF5 file"),
    "no JSON": (lambda e: e.update({"config.json": b"[" * 100_000}), "config.json is not JSON"),
    "no weights": (lambda e: e.pop("model.weights.h5"), "no model.weights.h5"),
    "a path": (lambda e: e.update({"assets/../../x": b""}), "leads out of the archive"),
    "an absolute path": (lambda e: e.update({"/tmp/x": b""}), "leads out of the archive"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_refused_before_it_is_read(honest, here, name):
    attack, message = ATTACKS[name]
    entries = entries_of(honest)
    attack(entries)
    with pytest.raises(UsageError) as error:
        keras_model.read(written(entries))
    assert message in str(error.value)
    assert str(error.value).isprintable()
    assert not (here / "marker").exists()


def test_keras_own_setting_does_not_allow_code(honest, here):
    entries = entries_of(honest)
    layer(class_name="StringLookup", config={"name": "d", "vocabulary": "/etc/passwd"})(entries)
    from keras.src.saving import serialization_lib as keras_settings

    with keras_settings.SafeModeScope(False), pytest.raises(UsageError):
        keras_model.read(written(entries))


def test_an_entry_that_is_a_link_or_is_there_twice_is_refused(honest, here):
    link = zipfile.ZipInfo("assets/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    entries = entries_of(honest)
    path = written(entries)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UsageError, match="entry 'assets/link' is a link; expected a file"):
        keras_model.read(path)
    path = written(entries)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(UsageError, match=r"entry 'config\.json' is there twice"):
        keras_model.read(path)


def test_an_archive_that_unpacks_to_too_much_is_refused(honest, here, monkeypatch):
    monkeypatch.setattr(archives, "BYTES", 10_000)
    with zipfile.ZipFile("bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", " " * 10_001)
    with pytest.raises(UsageError, match=r"unpacks to 10,001 bytes; expected at most 10,000"):
        keras_model.read(Path("bomb.keras"))


def test_weights_are_checked_as_those_of_a_model_are(honest, here):
    model = keras_model.read(honest)
    model.save_weights("good.weights.h5")
    keras_model._load(model, Path("good.weights.h5"))
    keras_model._load(model, honest)
    entries = entries_of(honest)
    weights(external)(entries)
    Path("evil.weights.h5").write_bytes(entries["model.weights.h5"])
    for name in ("evil.weights.h5", str(written(entries))):
        with pytest.raises(UsageError, match=ELSEWHERE):
            keras_model._load(model, Path(name))
    Path("many.weights.json").write_text('{"weight_map": {"/dense/vars": "../secret.h5"}}')
    with pytest.raises(UsageError, match=r"expected what model\.save_weights wrote"):
        keras_model._load(model, Path("many.weights.json"))
