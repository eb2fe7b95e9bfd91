"""A release held against what is known of it: counts expected and found, and every clip that cannot be used.

    sheet ─► TABLE 1 ─► mends ─► apexes ─► counts: corpus, emotions, tasks (with their SHA-256)     Count
                                       └─► clips: key frames, names, words not read, frames on disk  Finding

Nothing is trained and nothing is written. A finding is an error if its clip cannot be shown, else a note.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from mer_bench import catalog, clips, processes
from mer_bench.contracts import Dataset, MerBenchError, Task, UsageError
from mer_bench.pixels import apex, cache
from mer_bench.pixels.cache import Tick
from mer_bench.pixels.footage import Finding, Footage, as_picture, on_disk, split


@dataclass(frozen=True)
class Count:
    """One line of expected against found; `expected` is empty where no source states it, and nothing can be missed."""

    part: str
    what: str
    expected: str
    found: str

    @property
    def missed(self) -> bool:
        """Whether something pinned was not found."""
        return bool(self.expected) and self.expected != self.found


@dataclass(frozen=True)
class Inspection:
    """Everything that was found, and the hash of each task's list of clips."""

    name: str
    counts: tuple[Count, ...]
    findings: tuple[Finding, ...]
    sha256: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether every pinned count was met and every clip can be shown."""
        return not any(count.missed for count in self.counts) and not any(one.error for one in self.findings)


@dataclass(frozen=True)
class _Release:
    """One edition on this machine: its table as released, and as used."""

    name: str
    root: Path
    dataset: Dataset
    released: pl.DataFrame
    used: pl.DataFrame
    findings: tuple[Finding, ...]


def check(name: str, task: str = "", *, every_frame: bool = False, tick: Tick | None = None) -> Inspection:
    """Hold a corpus on this machine against its facts.

    Args:
        name: `NAME[:EDITION][:OPTION]`; without an edition every edition whose sheet is there.
        task: look at this task's clips alone.
        every_frame: open every frame from onset to offset, not the key frames alone.
        tick: called with (done, total, text).

    Raises:
        UsageError: an unknown name, or a task of another corpus.
        MerBenchError: the corpus is not on this machine, or none of its sheets can be read.
    """
    wanted = tasks(name, task)
    corpora = dict.fromkeys(corpus for one in wanted.values() for corpus in one.corpora) if task else {}
    releases = _releases(name, corpora, tick)
    counts = [] if task else [count for release in releases.values() for count in _of_corpus(release)]
    sums: dict[str, str] = {}
    asked: set[str] = set()
    for label, one in wanted.items():
        if missing := [corpus for corpus in one.corpora if corpus not in releases]:
            counts.append(Count(label, "clips", "", f"not counted: no sheet of {', '.join(missing)}"))
            continue
        chosen = clips.select(pl.concat([releases[corpus].used for corpus in one.corpora]), one)
        asked |= set(chosen["clip"])
        sums[label] = clips.sha256(chosen)
        counts += _of_task(label, one, chosen)
    findings = []
    for release in releases.values():
        wanted_clips = asked if task else set(release.used["clip"])
        footage = _footage(release, wanted_clips, every_frame, tick)
        there, total = sum(one.there for one in footage), sum(one.wanted for one in footage)
        counts.append(Count(release.name, "frames on disk", "", f"{there} of {total} from onset to offset"))
        seen = [finding for one in footage for finding in one.findings]
        # a mend or an apex that fails stops every task, whichever clips it is about
        stops = [finding for finding in release.findings if finding.error]
        told = (*release.findings, *_of_clips(release))
        findings += [*seen, *stops, *(finding for finding in told if not task or finding.clip in asked)]
    once = dict.fromkeys(sorted(findings, key=lambda found: (not found.error, found.clip)))
    return Inspection(name, tuple(counts), tuple(once), sums)


def tasks(name: str, task: str = "") -> dict[str, Task]:
    """A corpus's tasks under their full names: all of them, those of the edition named, or the one asked for.

    Raises:
        UsageError: an unknown name, or a task of another corpus.
    """
    stem, *options = name.split(":")
    known = catalog.dataset(stem)
    catalog.dataset(name)
    if task and task not in known.tasks:
        raise UsageError(f"{stem} has no task {task!r}; known: {', '.join(known.tasks)}")
    edition = next((option for option in options if option in known.editions), "")
    rest = [option for option in options if option not in known.editions]
    chosen = [
        label
        for label, one in known.tasks.items()
        if label == task or (not task and (not edition or f"{stem}:{edition}" in one.corpora))
    ]
    return {full: catalog.task(full) for full in (":".join([label, *rest]) for label in chosen)}


def _releases(name: str, corpora: Mapping[str, None], tick: Tick | None) -> dict[str, _Release]:
    """Every edition whose sheet is there: of the corpus, or of those named.

    Raises:
        MerBenchError: none can be read; the first reason.
    """
    stem, *options = name.split(":")
    dataset = catalog.dataset(stem)
    names = list(corpora)
    if not names:
        rest = [option for option in options if option not in dataset.editions]
        chosen = [option for option in options if option in dataset.editions] or ["", *dataset.editions]
        stems = dataset.made_of or (stem,)
        names = [":".join(filter(None, [one, edition, *rest])) for one in stems for edition in chosen]
    found, reasons = {}, []
    for one in names:
        try:
            found[one] = _release(one, tick)
        except MerBenchError as error:
            reasons.append(error)
    if not found or (dataset.made_of and reasons):
        raise reasons[0]
    return found


def _release(name: str, tick: Tick | None) -> _Release:
    dataset, root = catalog.dataset(name), cache.root(name, tick)
    released = used = dataset.read_annotations(root)
    findings = []
    for one in dataset.mends:
        try:
            used = clips.mend(used, [one])
        except MerBenchError as error:
            findings.append(Finding(one.clip, "", str(error).removeprefix(f"{one.clip}: ")))
            continue
        before = released.filter(pl.col("clip") == one.clip)
        said = f"{one.column} {_said(before[one.column][0])} mended to {one.value}: {one.reason}"
        findings.append(Finding(one.clip, before["source"][0] or "", said, error=False))
    blank = used.filter(pl.col("apex").is_null())
    try:
        used = apex.fill(used, dataset.apex, root, name, tick)
    except MerBenchError as error:
        findings.append(Finding(*split(str(error))))
    findings += _filled(name, used, set(blank["clip"]))
    return _Release(name, root, dataset, released, used, tuple(findings))


def _filled(name: str, used: pl.DataFrame, blank: set[str]) -> list[Finding]:
    """What was taken for blank apexes: one line for a corpus without any, else one a clip."""
    taken = used.filter(pl.col("clip").is_in(list(blank)) & pl.col("apex").is_not_null())
    if len(taken) and len(taken) == len(used.filter(pl.col("onset").is_not_null())):
        said = f"no apex is annotated; {taken['apex_source'][0]} taken for all {len(taken)} clips"
        return [Finding(name, "", said, error=False)]
    return [
        Finding(
            row["clip"], row["source"] or "", f"apex is blank; {row['apex_source']} ({row['apex']}) taken", error=False
        )
        for row in taken.iter_rows(named=True)
    ]


def _of_corpus(release: _Release) -> Iterator[Count]:
    table, facts = release.used, release.dataset
    part = release.name
    yield Count(part, "clips", _number(facts.clips), str(len(table)))
    yield Count(part, "subjects", _number(facts.subjects), str(table["subject"].n_unique()))
    found = dict(table.group_by("emotion").len().sort("len", descending=True).iter_rows())
    for emotion in dict.fromkeys([*facts.emotions, *found]):
        expected = _number(facts.emotions.get(emotion, 0))
        yield Count(part, f"emotion {emotion}", expected, str(found.get(emotion, 0)))
    sources = table.filter(pl.col("apex").is_not_null()).group_by("apex_source").len().sort("apex_source").rows()
    if sources:
        yield Count(part, "apexes", "", ", ".join(f"{count} {source}" for source, count in sources))


def _of_task(label: str, task: Task, chosen: pl.DataFrame) -> Iterator[Count]:
    yield Count(label, "clips", _number(task.clips), str(len(chosen)))
    yield Count(label, "subjects", _number(task.subjects), str(chosen["subject"].n_unique()))
    for number, name in enumerate(task.classes):
        expected = _number(task.counts[number]) if task.counts else ""
        yield Count(label, f"class {name}", expected, str(int((chosen["label"] == number).sum())))
    yield Count(label, "SHA-256", task.sha256, clips.sha256(chosen))


def _said(value: object) -> str:
    return "blank" if value is None else str(value)


def _number(count: int) -> str:
    return str(count) if count else ""


def _of_clips(release: _Release) -> Iterator[Finding]:
    """Violations of the table, and words not read."""
    where = dict(release.used.select("clip", "source").iter_rows())
    for line in clips.problems(release.used):
        clip, what, cure = split(line)
        yield Finding(clip, where.get(clip) or "", what.removesuffix(f" ({where.get(clip)})"), cure)
    known = release.dataset.emotions
    for row in release.used.iter_rows(named=True):
        at = row["clip"], row["source"] or ""
        if known and row["emotion"] and row["emotion"] not in known:
            cure = f"known: {', '.join(known)}; add a Mend"
            yield Finding(*at, f"unknown emotion {row['emotion']!r}", cure)
        for remark in row["remarks"] or ():
            yield Finding(*at, remark, error=False)


def _footage(release: _Release, wanted: set[str], every_frame: bool, tick: Tick | None) -> list[Footage]:
    """What is on disk of each clip."""
    look: Callable[[Mapping[str, Any]], Footage] = partial(on_disk, release.root, every_frame)
    if release.dataset.read_flow is not None:
        look = partial(as_picture, release.dataset, release.root)
    rows = [row for row in release.used.iter_rows(named=True) if row["clip"] in wanted]
    found = []
    with ThreadPoolExecutor(processes.cores()) as pool:
        for one in pool.map(look, rows):
            found.append(one)
            if tick:
                tick(len(found), len(rows), f"looking at frames of {release.name}")
    return found
