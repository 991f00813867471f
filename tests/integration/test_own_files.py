"""A user's own models and weights in files: read, exported and shipped."""

import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from harness.core.errors import UsageError
from harness.goldens import store

torch = pytest.importorskip("torch")
pytest.importorskip("keras")

from tests.support import own_keras, own_torch  # noqa: E402
from tests.support.own_shipping import NETS, axes  # noqa: E402
from tests.support.own_torch import FRAMES  # noqa: E402


def test_a_state_dict_in_either_format_is_loaded(ship, tmp_path):
    from safetensors.torch import save_file

    torch.manual_seed(7)
    trained = own_torch.net()
    for value in trained.parameters():
        value.data.uniform_(-1, 1)
    torch.save(trained.state_dict(), tmp_path / "w.pt")
    save_file(trained.state_dict(), tmp_path / "w.safetensors")
    x = torch.randn(2, 6, 4)
    import onnxruntime

    for name in ("w.pt", "w.safetensors"):
        folder, _ = ship(f"{NETS}/own_torch.py:tuples", FRAMES, weights=tmp_path / name)
        session = onnxruntime.InferenceSession(folder / "model.onnx")
        found = session.run(["steps"], {"x": x.numpy()})[0]
        np.testing.assert_allclose(found, trained.gru(x)[0].detach(), atol=1e-5)


def test_weights_of_another_model_are_refused(ship, tmp_path):
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"w\.pt (lacks|has, and)"):
        ship(f"{NETS}/own_torch.py:net", FRAMES, weights=tmp_path / "w.pt")


def test_keras_files_and_weights(ship, tmp_path):
    model = own_keras.bilstm()
    for variable in model.weights:
        variable.assign(variable * 1.5)
    model.save(tmp_path / "own.keras")
    model.save_weights(tmp_path / "own.weights.h5")
    first, _ = ship(str(tmp_path / "own.keras"), lengths=[1, 4])
    hashes = sorted(store.read(first / "golden").manifest["weights"]["tensors"].values())
    factory = f"{NETS}/own_keras.py:bilstm"
    again, _ = ship(factory, lengths=[1, 4], weights=tmp_path / "own.weights.h5", name="own")
    stored = store.read(again / "golden")
    assert stored.manifest["subject"] == factory
    assert sorted(stored.manifest["weights"]["tensors"].values()) == hashes


def test_an_exported_program(ship, tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3))
    batch, time = torch.export.Dim("b", min=2, max=64), torch.export.Dim("t", min=2, max=512)
    example = (torch.randn(3, 7, 4),)
    shapes = ({0: batch, 1: time},)
    torch.export.save(
        torch.export.export(model, example, dynamic_shapes=shapes), tmp_path / "a.pt2"
    )
    folder, _ = ship(str(tmp_path / "a.pt2"), lengths=[2, 5, 9])
    assert axes(folder)["input"] == ["batch", "sequence", 4]
    torch.export.save(torch.export.export(model, example), tmp_path / "baked.pt2")
    with pytest.raises(UsageError, match=r"no input has an axis that varies: input\[3, 7, 4\]"):
        ship(str(tmp_path / "baked.pt2"))


def test_a_script(ship, tmp_path):
    class Steps(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = own_torch.net().gru

        def forward(self, x):
            return self.gru(x)[0]

    torch.jit.trace(Steps().eval(), torch.randn(3, 7, 4)).save(tmp_path / "script.pt")
    folder, _ = ship(str(tmp_path / "script.pt"), FRAMES, exporter="torch-script")
    assert axes(folder)["output"] == ["batch", "time", 5]


@pytest.mark.parametrize("batch", [None, [1]])
def test_a_batch_that_works_at_1_alone_is_found(ship, tmp_path, batch):
    """A start state of one row is baked into the file, whose batch is declared as dynamic."""
    text = """
    g (float[batch, time, 2] x) => (float[one, batch, 3] h) {
        xs = Transpose<perm = [1, 0, 2]>(x)
        start = ConstantOfShape<value = float[1] {0.5}>(size)
        y, h = LSTM<hidden_size = 3>(xs, w, r, , , start)
    }
    """
    model = onnx.parser.parse_model('<ir_version: 9, opset_import: ["" : 18]>' + text)
    rng = np.random.default_rng(0)
    weights = {"w": (1, 12, 2), "r": (1, 12, 3)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in weights.items()}
    for name, value in {**arrays, "size": np.array([1, 1, 3])}.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.save(model, tmp_path / "one.onnx")
    if batch:
        ship(str(tmp_path / "one.onnx"), lengths=[1, 5], batch=batch)
        return
    with pytest.raises(UsageError, match=r"runs at batch=1 alone \(time=1, batch=3: .*--batch 1 "):
        ship(str(tmp_path / "one.onnx"), lengths=[1, 5])


def test_an_onnx_file_of_the_users_own(ship, shipped, tmp_path):
    own = tmp_path / "mine.onnx"
    shutil.copy(shipped[0] / "model.onnx", own)
    folder, _ = ship(str(own), "x: [batch, time, 4] in -2..2, normal")
    assert store.read(folder / "golden").framework == "onnx"
    assert "the float64 evaluation of the file's own graph" in (folder / "MODEL.md").read_text()
    with pytest.raises(UsageError, match="the file's outputs are output; expected other"):
        ship(str(own), outputs="other")


def test_a_toml_file_beside_the_model_describes_it(ship, tmp_path):
    shutil.copy(NETS / "own_torch.py", tmp_path / "mine.py")
    (tmp_path / "mine.toml").write_text(
        'name = "reader"\noutputs = ["a", "b"]\nlengths = "2,5"\nbatch = 2\n'
        '[inputs]\nx = "float32[batch, frames, 4]"\n'
    )
    folder, report = ship(f"{tmp_path}/mine.py:tuples", lengths=None)
    assert axes(folder) == {
        "x": ["batch", "frames", 4],
        "a": ["batch", "frames", 5],
        "b": [1, "batch", 5],
    }
    assert report.results[0].cell.model == "reader"
    cases = store.read(folder / "golden").cases
    assert {(case.lengths["frames"], case.batch) for case in cases} == {(2, 2), (5, 2)}
