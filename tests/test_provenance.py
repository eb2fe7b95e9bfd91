"""What an evaluation ran on is named."""

import importlib.metadata
import json
import re
import shutil
import subprocess

import pytest

from mer_bench.records import provenance


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository of one commit, as if the package lay in it."""
    package = tmp_path / "mer_bench"
    package.mkdir()
    (package / "a.py").write_text("x = 1")
    monkeypatch.setattr(provenance, "HERE", package)
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for words in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "first"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return package


def copied(place):
    """The package's sources, to be edited."""
    shutil.copytree(provenance.HERE, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", "*.npz"))


def test_the_commit_and_whether_files_differ_from_it(checkout):
    assert re.fullmatch("[0-9a-f]{40}", provenance.commit())
    (checkout / "new.py").write_text("untracked")
    assert "+" not in provenance.commit()
    (checkout / "a.py").write_text("x = 2")
    assert re.fullmatch(r"[0-9a-f]{40}\+changes", provenance.commit())


def test_the_harness_is_named_by_the_code_that_decides_numbers(tmp_path, monkeypatch):
    copied(tmp_path)
    real = provenance.harness()
    monkeypatch.setattr(provenance, "HERE", tmp_path)
    (tmp_path / "door" / "cli.py").write_text("x = 2")
    assert provenance.harness() == real == provenance.versions()["harness"]
    for name in provenance.DECIDING:
        before, source = provenance.harness(), tmp_path / f"{name}.py"
        source.write_text(f"{source.read_text()}\nx = 2\n")
        assert provenance.harness() != before, name


def test_an_installed_package_has_no_commit(tmp_path, monkeypatch):
    copied(tmp_path / "mer_bench")
    monkeypatch.setattr(provenance, "HERE", tmp_path / "mer_bench")
    assert provenance.commit() == "" and "commit" not in provenance.versions()


def test_every_package_is_named_with_its_version():
    lines = provenance.requirements().splitlines()
    names = [line.split("==")[0] for line in lines]
    assert names == sorted(names) and f"numpy=={importlib.metadata.version('numpy')}" in lines
    assert {"python", "system", "cores", "torch"} <= set(json.loads(provenance.environment()))
