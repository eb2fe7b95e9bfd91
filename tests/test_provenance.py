"""What an evaluation ran on is named."""

import importlib.metadata
import json
import re
import subprocess

import pytest

from mer_bench import provenance


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


def test_the_commit_and_whether_files_differ_from_it(checkout):
    assert re.fullmatch("[0-9a-f]{40}", provenance.commit())
    (checkout / "new.py").write_text("untracked")
    assert "+" not in provenance.commit()
    (checkout / "a.py").write_text("x = 2")
    assert re.fullmatch(r"[0-9a-f]{40}\+changes", provenance.commit())


def test_the_harness_is_named_by_the_code_that_decides_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "HERE", tmp_path)
    for name in ("trainer", "splits", "cli"):
        (tmp_path / f"{name}.py").write_text("x = 1")
    before = provenance.harness()
    (tmp_path / "cli.py").write_text("x = 2")
    assert provenance.harness() == before == provenance.versions()["harness"]
    (tmp_path / "splits.py").write_text("x = 2")
    assert provenance.harness() != before


def test_an_installed_package_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "HERE", tmp_path / "mer_bench")
    assert provenance.commit() == "" and "commit" not in provenance.versions()


def test_every_package_is_named_with_its_version():
    lines = provenance.requirements().splitlines()
    names = [line.split("==")[0] for line in lines]
    assert names == sorted(names) and f"numpy=={importlib.metadata.version('numpy')}" in lines
    assert {"python", "system", "cores", "torch"} <= set(json.loads(provenance.environment()))
