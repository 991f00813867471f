"""Hostile ``.pt2`` files run nothing; what torch.export.save writes is loaded as PyTorch does."""

import io
import json
import os
import pickle
import sys
import zipfile
from copy import deepcopy

import numpy as np
import pytest

from harness.core.errors import UsageError

torch = pytest.importorskip("torch")

from harness.frameworks import pt2_grammars, pt2_program, torch_model  # noqa: E402

MODEL = "net/models/model.json"
TENSORS = {
    "weights": "net/data/weights/model_weights_config.json",
    "constants": "net/data/constants/model_constants_config.json",
}
EXAMPLE = {"x": np.ones((2, 5, 4), np.float32), "mask": np.ones((2, 5), np.bool_)}


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.out = torch.nn.Linear(4, 3)
        self.register_buffer("scale", torch.full((3,), 2.0))
        self.register_buffer("shift", torch.arange(3.0), persistent=False)

    def forward(self, x, mask=None):
        y = self.out(x) * self.scale + self.shift
        y = y.masked_fill(~mask[..., None], 0.0)[:, ::2]
        return y + torch.cond(x.sum() > 0, lambda x: x.sum() + 1, lambda x: x.sum() - 1, (x,))


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """What torch.export.save writes for a model with a buffer, a constant and two graphs."""
    path = tmp_path_factory.mktemp("honest") / "net.pt2"
    dims = {0: torch.export.Dim("batch"), 1: torch.export.Dim("time", min=3, max=500)}
    example = torch.randn(3, 7, 4), torch.ones(3, 7, dtype=torch.bool)
    shapes = {"x": dims, "mask": dims}
    torch.export.save(torch.export.export(Net().eval(), example, dynamic_shapes=shapes), path)
    return path


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "marker"


@pytest.fixture
def planted(honest, marker, tmp_path, monkeypatch):
    """Plants an attack in the honest file; a module that a file could import marks too."""
    place = tmp_path / "path"
    place.mkdir()
    (place / "planted_module.py").write_text(f"{code(marker)}\nx = 1\n")
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.delitem(sys.modules, "planted_module", raising=False)
    with zipfile.ZipFile(honest) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}

    def plant(attack):
        own = dict(entries)
        attack(own, marker)
        with zipfile.ZipFile(tmp_path / "evil.pt2", "w") as archive:
            for name, data in own.items():
                archive.writestr(name, data)
        return tmp_path / "evil.pt2"

    return plant


def run(path):
    model = torch_model.TorchModel(torch_model.read(path))
    model.arrange(["x", "mask"])
    return model.run(EXAMPLE, wide=False)


def code(marker):
    return f"__import__('pathlib').Path({str(marker)!r}).touch()"


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return eval, (code(self.marker),)


def pickled(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def change(entries, name, how):
    data = json.loads(entries[name])
    how(data)
    entries[name] = json.dumps(data).encode()


def as_pickle(folder):
    def attack(entries, marker):
        def how(data):
            tensor = next(iter(data["config"].values()))
            tensor["use_pickle"] = True
            entries[f"net/data/{folder}/{tensor['path_name']}"] = pickled(Evil(marker))

        change(entries, TENSORS[folder], how)

    return attack


def older(folder):
    def attack(entries, marker):
        entries[f"net/data/{folder}/model.pt"] = pickled({"a": Evil(marker)})

    return attack


def of_class(file):
    def attack(entries, marker):
        meta = {"path_name": file, "is_param": False, "use_pickle": True, "tensor_meta": None}
        change(entries, TENSORS["constants"], lambda data: data["config"].update(evil=meta))
        entries[f"net/data/constants/{file}"] = pickle.dumps(Evil(marker))

    return attack


def oldest(entries, marker):
    program = entries[MODEL]
    entries.clear()
    for name in ("state_dict", "constants", "example_inputs"):
        entries[f"serialized_{name}.pt"] = pickled({"a": Evil(marker)})
    entries |= {"version": b"8.20", "serialized_exported_program.json": program}


def program(how):
    def attack(entries, marker):
        change(entries, MODEL, lambda data: how(data["graph_module"], code(marker)))

    return attack


def guarded(entries, marker):
    change(entries, MODEL, lambda data: data["guards_code"].append(f"{code(marker)} is None"))


def sized(graph_module, text):
    size = {"as_expr": {"expr_str": text, "hint": None}}
    graph_module["graph"]["tensor_values"]["x"]["sizes"][0] = size


def renamed(old, new, entry=MODEL):
    """Replaces a name wherever it stands; CODE in the new one is the code, as an escaped text."""

    def attack(entries, marker):
        hidden = "".join(f"\\x{ord(c):02x}" for c in code(marker))
        text = new.replace("CODE", code(marker)).replace("HIDDEN", hidden)
        for name in (MODEL, entry):
            entries[name] = entries[name].replace(f'"{old}"'.encode(), json.dumps(text).encode())

    return attack


def keyword(graph_module, text):
    node = next(n for n in graph_module["graph"]["nodes"] if n["target"].endswith("cond"))
    node["inputs"].append({"name": f"z={text},y", "arg": {"as_int": 1}, "kind": 2})


def container(node):
    def how(graph_module, _):
        signature = graph_module["module_call_graph"][0]["signature"]
        version, root = json.loads(signature["in_spec"])
        root["children_spec"][0]["children_spec"].append(node)
        signature["in_spec"] = json.dumps([version, root])

    return program(how)


def calls(target, *arguments):
    """Adds a node; MARKER in an argument is the marker's path."""

    def attack(entries, marker):
        def how(data):
            graph = data["graph_module"]["graph"]
            graph["tensor_values"]["evil"] = deepcopy(graph["tensor_values"]["x"])
            inputs = json.loads(json.dumps(arguments).replace("MARKER", str(marker)))
            node = {"target": target, "inputs": inputs, "name": "evil", "metadata": {}}
            node |= {"outputs": [{"as_tensor": {"name": "evil"}}]}
            graph["nodes"].append(node)

        change(entries, MODEL, how)

    return attack


def text(value, name=""):
    return {"name": name, "arg": {"as_string": value}, "kind": 1}


ENUM = json.dumps([{"__enum__": 1, "fqn": "planted_module:x", "name": "y"}])
FACTORY = {"default_factory_module": "planted_module", "default_factory_name": "x"}
FROM_FILE = (text("MARKER", "filename"), {"name": "shared", "arg": {"as_bool": True}, "kind": 1})
SIZE = {"name": "size", "arg": {"as_int": 4}, "kind": 1}
PICKLE, CODE = "as a pickle, which runs code", "model.json may run code: "
ATTACKS = {
    "a weight": (as_pickle("weights"), f"weights_config.json has 'out.weight' {PICKLE}"),
    "older weights": (older("weights"), "weights/model.pt is a pickle"),
    "a constant": (as_pickle("constants"), f"model_constants_config.json has 'shift' {PICKLE}"),
    "older constants": (older("constants"), "constants/model.pt is a pickle"),
    "an object": (of_class("opaque_obj_0"), f"has 'evil' {PICKLE}"),
    "the oldest layout": (oldest, "serialized_exported_program.json is of an older layout"),
    "a size": (program(sized), f"{CODE}\"__import__('pathlib')"),
    "a guard": (guarded, "is no comparison of sizes"),
    "an input's name": (renamed("x", "x=CODE"), "is no name; expected"),
    "an argument's name": (program(keyword), "is no name; expected"),
    "a graph's name": (renamed("true_graph_0", 'g"+str(eval("HIDDEN"))+"'), "is no name"),
    "a weight's name": (
        renamed("out.weight", 'out.w"+str(eval("HIDDEN"))+"', TENSORS["weights"]),
        "is no name of a parameter or a module",
    ),
    "an enumeration": (
        container({"type": "builtins.dict", "context": ENUM, "children_spec": []}),
        "is no description of tuples, lists and dicts",
    ),
    "a factory of values": (
        container(
            {
                "type": "collections.defaultdict",
                "context": {**FACTORY, "dict_context": []},
                "children_spec": [],
            }
        ),
        "is no description of tuples, lists and dicts",
    ),
    "a file": (
        calls("torch.ops.aten.from_file.default", *FROM_FILE, SIZE),
        "'torch.ops.aten.from_file.default' is no operator that a file may name",
    ),
    "TorchBind": (of_class("custom_obj_0"), f"has 'evil' {PICKLE}"),
    "a function": (calls("torch.os.system", text("touch MARKER")), "'torch.os.system' is no"),
    "a call of one": (calls("_operator.call", text("MARKER")), "'_operator.call' is no operator"),
    "a library": (calls("torch.ops.load_library", text("MARKER")), "load_library' is no operator"),
    "a graph that is none": (
        calls("torch.ops.higher_order.cond", {"name": "", "arg": {"as_operator": "torch.load"}}),
        "'torch.load' is no operator",
    ),
    "a size by its attributes": (
        program(lambda graph, _: sized(graph, "Symbol('s77').__class__")),
        "is no arithmetic of sizes",
    ),
    "two folders": (lambda e, _: e.update({"other/a": b""}), "has no single folder"),
    "no program": (lambda e, _: e.pop(MODEL), "holds no models/model.json"),
    "no weights": (lambda e, _: e.pop("net/data/weights/weight_0"), "holds no data/weights/weight"),
    "another form": (lambda e, _: change(e, MODEL, lambda d: d.pop("graph_module")), "no part of"),
    "no JSON": (lambda e, _: e.update({MODEL: b"[" * 100_000}), "model.json is not JSON"),
    "another version": (
        lambda e, _: e.update({"net/archive_version": b"99"}),
        "archive_version is not 0",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_refused_before_it_is_read(planted, marker, name):
    attack, message = ATTACKS[name]
    with pytest.raises(UsageError) as error:
        run(planted(attack))
    assert message in str(error.value)
    assert "evil.pt2" in str(error.value)
    assert str(error.value).isprintable()
    assert not marker.exists()


def test_compiled_code_sample_inputs_and_metadata_are_not_read(planted, marker):
    def attack(entries, marker):
        entries["net/data/aotinductor/model/evil.so"] = b"\x7fELF"
        entries["net/data/sample_inputs/model.pt"] = pickled(((Evil(marker),), {}))
        change(
            entries,
            MODEL,
            lambda data: data["graph_module"]["graph"]["nodes"][0].update(
                metadata={"stack_trace": code(marker), "custom": "[", "nn_module_stack": 'a"\n'}
            ),
        )

    assert run(planted(attack))[0][1].shape == (2, 3, 3)
    assert not marker.exists()


def test_what_pytorch_writes_is_loaded_as_pytorch_does(honest):
    ours, theirs = torch_model.read(honest), torch.export.load(honest)
    assert ours.graph_module.code == theirs.graph_module.code
    assert list(ours.state_dict) == ["out.weight", "out.bias", "scale"]
    inputs = tuple(map(torch.from_numpy, EXAMPLE.values()))
    assert torch.equal(ours.module()(*inputs), theirs.module()(*inputs))
    stacks = {str(node.meta.get("nn_module_stack")) for node in ours.graph.nodes}
    assert any("torch.nn.modules.linear.Linear" in stack for stack in stacks)
    with pytest.raises(Exception, match=r"Guard failed|Expected input"):
        ours.module()(inputs[0], inputs[1][:1])


@pytest.mark.parametrize(
    "text",
    [
        "Mul(Integer(2), Pow(Symbol('s77', positive=True, integer=True), Integer(2)))",
        "FloorDiv(Add(Symbol('s20', integer=True), Integer(-1)), Integer(2))",
        "OpaqueUnaryFn_sqrt(ToFloat(Symbol('u0', integer=True)))",
        "Float('0.5', precision=53)",
        "2*s77 + Max(1, s3)",
    ],
)
def test_arithmetic_of_sizes_is_taken(text):
    pt2_grammars.expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s0.a",
        "s0[0]",
        "eval('1')",
        "lambda: s0",
        "Symbol('x')",
        "Symbol('s0', **s1)",
        "Max(*s0)",
        "Float('nan', precision=53)",
        "Integer('1')",
        "[s0 for s0 in s1]",
        "(s0 := 1)",
        "9**9**9",
        "Pow(Pow(s0, 9), 9)",
        "2**100",
        "1" * 40,
        "-" * 5000 + "1",
        "E",
        "f'{s0}'",
        "s1234567",
    ],
)
def test_nothing_else_is_arithmetic_of_sizes(text):
    with pytest.raises(ValueError, match="is no arithmetic of sizes"):
        pt2_grammars.expression(text)


def test_guards_compare_sizes_of_inputs_alone():
    pt2_grammars.guard("(4*L['a'].size()[1]) != (4*max(1, L['b'][0]['k'].stride()[1] // 2))")
    pt2_grammars.guard("Eq(Mod(L['args'][0].size()[1], 8), 0) and L['x'].storage_offset() == 0")
    for text in (
        "L['x'].tolist() == 1",
        "L['x\\''].size()[0] == 1",
        "x.size()[0] == 1",
        "L.size()",
    ):
        with pytest.raises(ValueError, match="is no comparison of sizes"):
            pt2_grammars.guard(text)


@pytest.mark.parametrize(
    "name",
    [
        "save.default",
        "set_.source_Storage",
        "from_file.out",
        "__class__.mro",
        "_sparse_coo_tensor_unsafe.default",
        "add",
    ],
)
def test_operators_that_do_more_than_compute_are_refused(name):
    with pytest.raises(ValueError, match="is no operator that a file may name"):
        pt2_program.operator(f"torch.ops.aten.{name}")


def test_operators_that_compute_are_taken():
    for name in ("lstm.input", "gru.data", "einsum.default", "index.Tensor", "__and__.Tensor"):
        pt2_program.operator(f"torch.ops.aten.{name}")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.pt2")
    with pytest.raises(UsageError, match="is a pipe; expected a file"):
        torch_model.read(tmp_path / "pipe.pt2")
