"""The guard against a torchvision whose operators are missing."""

import subprocess
import sys

import pytest

BROKEN = """
import torch
torch.library.register_fake("torchvision::nms")(lambda dets, scores, threshold: None)
torch.library.register_fake("torchvision::qnms")(lambda dets, scores, threshold: None)
"""
OTHERWISE = "raise RuntimeError('no disk')"


def run(code, folder):
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)


@pytest.fixture
def torchvision(tmp_path):
    """A torchvision of this text, found before the installed one."""

    def write(text):
        (tmp_path / "torchvision").mkdir()
        (tmp_path / "torchvision" / "__init__.py").write_text(text)
        return tmp_path

    return write


def test_the_operators_that_are_missing_are_declared(torchvision):
    tried = "try: import torchvision\nexcept RuntimeError as error: print('nms does not exist' in str(error))\n"
    cured = "from mer_bench import vision; vision.ready(); vision.ready(); import torchvision; print('fine')"
    assert run(tried + cured, torchvision(BROKEN)).stdout == "True\nfine\n"


def test_a_file_that_did_not_ask_is_helped_by_the_catalogue(torchvision):
    folder = torchvision(BROKEN)
    (folder / "mine.py").write_text(
        "import torchvision\nfrom mer_bench.contracts import Baseline\nBASELINE = Baseline(model=int, view='flow')\n"
    )
    assert run("from mer_bench import catalog; print(catalog.baseline('mine.py').view)", folder).stdout == "flow\n"


def test_another_fault_is_raised_as_it_is(torchvision):
    assert "RuntimeError: no disk" in run("from mer_bench import vision; vision.ready()", torchvision(OTHERWISE)).stderr


def test_timm_can_be_imported_here():
    assert run("from mer_bench import vision; vision.ready(); import timm; print('fine')", None).stdout == "fine\n"
