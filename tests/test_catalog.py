import pickle
import sys

import pytest

from mer_bench import catalog
from mer_bench.contracts import Baseline, Dataset, Task, UsageError

METHOD = """
from mer_bench.contracts import Baseline, Recipe

class Net:
    def __init__(self, num_classes, *, depth={depth}):
        self.depth = depth

def suggest(trial):
    trial.suggest_int("depth", 1, 3)

BASELINE = Baseline(model=Net, view="flow", recipe=Recipe(), presets={{"deep": {{"depth": 9}}}}{more})
"""


@pytest.fixture
def write(tmp_path):
    """Write a plug-in; its module is forgotten afterwards."""
    before = set(sys.modules)

    def to(name, depth=1, more="", text=METHOD):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.format(depth=depth, more=more))
        return str(path)

    yield to
    for name in set(sys.modules) - before:
        if name.startswith("mer_bench.plugins."):
            del sys.modules[name]


def test_every_name_loads_and_the_file_name_is_the_registry():
    for kind, of in (("dataset", Dataset), ("baseline", Baseline), ("task", Task)):
        found = catalog.names(kind)
        assert found == sorted(set(found)) and found
        assert not [name for name in found if name.startswith("_")]
        assert all(isinstance(getattr(catalog, kind)(name), of) for name in found)


def test_tasks_name_corpora_and_classes_that_exist():
    for name in catalog.names("task"):
        task = catalog.task(name)
        assert all(isinstance(catalog.dataset(corpus), Dataset) for corpus in task.corpora)
        assert set(task.class_map.values()) == set(task.classes)
        assert not task.counts or (len(task.counts) == len(task.classes) and sum(task.counts) == task.clips)


@pytest.mark.parametrize("kind", ["dataset", "baseline", "task"])
def test_an_unknown_name_lists_the_known_ones(kind):
    with pytest.raises(UsageError, match=rf"unknown {kind} 'nothing'; known: .*{catalog.names(kind)[0]}"):
        getattr(catalog, kind)("nothing")


def test_an_unknown_kind_is_an_error():
    with pytest.raises(UsageError, match="unknown kind"):
        catalog.names("model")


@pytest.mark.parametrize(("name", "parts"), [("a", ("a", "")), ("a:b", ("a", "b")), ("x/y.py:b", ("x/y.py", "b"))])
def test_split(name, parts):
    assert catalog.split(name) == parts


def test_a_users_own_file_is_a_method(write):
    path = write("mine.py")
    method = catalog.baseline(path)
    assert method is catalog.baseline(path) is catalog.baseline(f"{path}:deep")
    assert method.model.__module__ == "mer_bench.plugins.baseline.mine"
    assert pickle.loads(pickle.dumps(method.model(3))).depth == 1


def test_two_files_of_one_name_are_told_apart(write):
    first, second = write("a/same.py", depth=1), write("b/same.py", depth=2)
    assert [catalog.baseline(p).model(3).depth for p in (first, second, first)] == [1, 2, 1]


def test_a_relative_path_is_the_same_file(write, tmp_path, monkeypatch):
    path = write("mine.py")
    monkeypatch.chdir(tmp_path)
    assert catalog.baseline("mine.py") is catalog.baseline(path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"no file .*gone\.py"):
        catalog.baseline(str(tmp_path / "gone.py"))


@pytest.mark.parametrize("text", ["x = 1", "BASELINE = 'mine'"])
def test_a_file_must_end_in_its_constant(write, text):
    with pytest.raises(UsageError, match=r"mine\.py must end in BASELINE = Baseline"):
        catalog.baseline(write("mine.py", text=text))


def test_an_error_inside_a_file_is_raised_as_it_is_and_leaves_nothing(write):
    path = write("mine.py", text="import no_such_library")
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        catalog.baseline(path)
    assert "mer_bench.plugins.baseline.mine" not in sys.modules
    write("mine.py")
    assert isinstance(catalog.baseline(path), Baseline)


def test_a_space_comes_from_the_file_itself(write):
    path = write("mine.py", more=", suggest=suggest")
    assert catalog.space(f"{path}:deep") is catalog.baseline(path).suggest


def test_a_method_without_a_space(write):
    with pytest.raises(UsageError, match="has no search space"):
        catalog.space(write("mine.py", text=METHOD.replace("def suggest", "def elsewhere")))


def test_spaces_belong_to_methods():
    assert set(catalog.names("space")) <= set(catalog.names("baseline")) | {"common"}
    assert all(callable(catalog.space(name)) for name in set(catalog.names("space")) & set(catalog.names("baseline")))
