"""Public files: at a pinned commit or from a folder, every sum checked, nothing half-fetched kept."""

import os
import subprocess
from pathlib import Path

import pytest

from mer_bench import catalog, clips
from mer_bench.contracts import Dataset, MerBenchError, Public, UsageError
from mer_bench.pixels import cache, fetch

NAME = "megc2019_flow"
REAL = [
    Path(p) / NAME for p in os.environ.get("MER_BENCH_DATA", "").split(os.pathsep) if p and (Path(p) / NAME).is_dir()
]


def git(folder, *words):
    settings = ("user.name=a", "user.email=a@b", "commit.gpgsign=false", "init.defaultBranch=main")
    names = [word for setting in settings for word in ("-c", setting)]
    done = subprocess.run(["git", *names, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository whose first commit is published, and whose second changed a picture; corpus `pub` points at it."""
    monkeypatch.setenv("MER_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("MER_BENCH_DATA", raising=False)
    root = tmp_path / "repository ö"
    (root / "pictures").mkdir(parents=True)
    (root / "sheet.csv").write_bytes(b"a,b\r\n1,2\r\n")
    for name in ("x .png", "y .png"):
        (root / "pictures" / name).write_bytes(name.encode())
    (root / "code.py").write_text("not wanted")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "one")
    commit = git(root, "rev-parse", "HEAD")
    paths = ("sheet.csv", "pictures")
    (tmp_path / "sums").write_text(fetch.listed(root, paths))
    (root / "pictures" / "y .png").write_bytes(b"another picture")
    git(root, "commit", "-qam", "two")
    wanted = Public(str(root), commit, paths, tmp_path / "sums", "nobody knows whose it is")
    corpus = Dataset("Public", lambda folder: clips.table([]), "none", public=wanted)
    known = catalog.dataset
    monkeypatch.setattr(catalog, "dataset", lambda name: corpus if name == "pub" else known(name))
    return root


def test_the_pinned_commit_is_fetched_whatever_came_later(repository):
    ticks = []
    place = fetch.fetch("pub", tick=lambda *step: ticks.append(step))
    found = sorted(p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file())
    assert found == ["pictures/x .png", "pictures/y .png", "sheet.csv"]
    assert (place / "pictures" / "y .png").read_bytes() == b"y .png"
    assert (place / "sheet.csv").read_bytes() == b"a,b\r\n1,2\r\n"
    assert cache.root("pub") == place and ticks[-1] == (3, 3, "checking pub")
    assert fetch.fetch("pub") == place


@pytest.mark.parametrize("source", ["clone", "file:", "folder"])
def test_a_clone_a_url_and_a_folder_give_the_same(repository, tmp_path, source):
    if source == "clone":
        git(tmp_path, "clone", "-q", str(repository), "clone")
        place = fetch.fetch("pub", str(tmp_path / "clone"))
    elif source == "file:":
        place = fetch.fetch("pub", repository.as_uri())
    else:
        plain = fetch.fetch("pub")
        (cache.home() / "kept").mkdir()
        plain.rename(cache.home() / "kept" / "plain")
        place = fetch.fetch("pub", str(cache.home() / "kept" / "plain"))
    assert fetch.listed(place, ("sheet.csv", "pictures")) == catalog.dataset("pub").public.sums.read_text()


DAMAGE = {
    "one altered byte": (
        lambda folder: (folder / "pictures/x .png").write_bytes(b"x .pnG"),
        r"pictures/x \.png differs",
    ),
    "one missing": (lambda folder: (folder / "pictures/x .png").unlink(), "1 of 3 published files are missing"),
    "one more": (lambda folder: (folder / "pictures/z.png").write_bytes(b"z"), r"pictures/z\.png is not among"),
    "no folder": (lambda folder: (folder / "sheet.csv").unlink(), r"holds no sheet\.csv"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_differs_is_named_and_nothing_is_kept(repository, tmp_path, kind):
    folder = tmp_path / "plain"
    fetch.fetch("pub").rename(folder)
    damage, said = DAMAGE[kind]
    damage(folder)
    with pytest.raises(MerBenchError, match=said):
        fetch.fetch("pub", str(folder))
    assert not list((cache.home() / "fetched").glob("pub-*"))


def test_what_was_changed_after_fetching_is_named(repository):
    place = fetch.fetch("pub")
    (place / "pictures" / "x .png").write_bytes(b"x .pnG")
    with pytest.raises(MerBenchError, match=r"pictures/x \.png differs.*delete"):
        fetch.fetch("pub")


@pytest.mark.parametrize("source", ["/nowhere/at/all", "https://localhost:1/none"])
def test_a_repository_that_is_not_there_is_one_line(repository, source):
    with pytest.raises(MerBenchError, match="give a clone or a folder with --from") as caught:
        fetch.fetch("pub", source)
    assert "\n" not in str(caught.value)


@pytest.fixture
def mirror(repository, tmp_path):
    """The published files in a repository of another history."""
    other = tmp_path / "mirror"
    fetch.fetch("pub").rename(other)
    git(other, "init", "-q")
    git(other, "add", ".")
    git(other, "commit", "-qm", "imported")
    return other


def test_a_clone_without_the_commit_is_held_to_the_sums(mirror):
    place = fetch.fetch("pub", str(mirror))
    assert fetch.listed(place, ("sheet.csv", "pictures")) == catalog.dataset("pub").public.sums.read_text()


def test_an_altered_byte_in_a_clone_is_named_and_nothing_is_kept(mirror):
    (mirror / "pictures" / "x .png").write_bytes(b"x .pnG")
    git(mirror, "commit", "-qam", "altered")
    with pytest.raises(MerBenchError, match=r"pictures/x \.png differs"):
        fetch.fetch("pub", str(mirror))
    assert not list((cache.home() / "fetched").glob("pub-*"))


def test_a_clone_of_something_else_is_one_line(mirror):
    git(mirror, "rm", "-q", "sheet.csv")
    git(mirror, "commit", "-qm", "something else")
    with pytest.raises(MerBenchError, match=r"pub: .*sheet\.csv.*with --from") as caught:
        fetch.fetch("pub", str(mirror))
    assert "\n" not in str(caught.value)


def test_a_corpus_without_public_files_says_so_and_which_have():
    with pytest.raises(UsageError, match=r"casme2 cannot be fetched: signed agreement.*can be: megc2019_flow"):
        fetch.public("casme2")


def test_the_committed_sums_name_no_clip():
    wanted = fetch.public(NAME)
    lines = wanted.sums.read_text().splitlines()
    assert len(lines) == 443 and len(wanted.commit) == 40 and "no licence" in wanted.state
    assert all(
        len(word) in (64, fetch.SHORT) and set(word) <= set("0123456789abcdef") for s in lines for word in s.split()
    )


@pytest.mark.skipif(not REAL, reason="MER_BENCH_DATA holds no megc2019_flow")
def test_the_real_files_are_the_published_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("MER_BENCH_HOME", str(tmp_path))
    place = fetch.fetch(NAME, str(REAL[0]))
    assert len(catalog.dataset(NAME).read_annotations(place)) == 442
