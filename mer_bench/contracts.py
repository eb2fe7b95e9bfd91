"""What a plug-in states: a corpus, a task, a method, its recipe and its printed numbers.

Everything here is a frozen dataclass: an unknown key is a `TypeError` at once, never an ignored setting, and a
resolved question can be stored beside its answer. A plug-in is one file that ends in one constant built from these.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

PUBLISHED_IMAGE_SIZE = 224


class MerBenchError(Exception):
    """An error for people: what happened, to which clip or file, and the cure, in one line."""


class UsageError(MerBenchError):
    """The command or a name in it is wrong; the command line exits with 2."""


class Remark(UserWarning):
    """A warning for people, in one line: something is done otherwise than asked, and on record as it is done."""


@dataclass(frozen=True)
class Mend:
    """A correction to a released sheet, keyed by clip, with the reason; it must match exactly one clip."""

    clip: str
    column: str
    value: int | str
    reason: str


@dataclass(frozen=True)
class Scale:
    """How large a task's models are built, so that a small corpus does not train a 224-pixel network.

    `image_size` is what the published 224 pixels become and `width` multiplies channel counts; other sizes and widths
    (in a search, say) are scaled by the same factors. `epochs` caps the recipe of models that have an `image_size`;
    models with an input of their own (28-pixel flow) are cheap and keep their recipe.
    """

    image_size: int = PUBLISHED_IMAGE_SIZE
    width: float = 1.0
    epochs: int | None = None


PAPER_SCALE = Scale()


@dataclass(frozen=True)
class Task:
    """A question: corpora, a class map, a pinned list of clips, and what a fold leaves out.

    Args:
        corpora: names of datasets, `NAME[:EDITION]`.
        classes: class names in label order, fixed in advance.
        class_map: emotion as annotated, or `corpus/emotion` in a composite -> class name; clips with other emotions
            are not in the task.
        clips: expected number of clips; 0 where no source states it.
        subjects: expected number of subjects; 0 where no source states it.
        counts: expected clips of each class, in label order; empty if not pinned.
        sha256: pinned hash of the sorted canonical clip ids; empty where the list is not public.
        drop: clips left out by the task's definition, each with the reason.
        scale: model scale of this task.
        version: raised whenever the facts change; stamped on every score.
        banner: words shown beside every number of this task.
        fold: what a fold leaves out: a `subject`, or a whole `corpus`.
        tested: corpora that are tested in turn, where folds are corpora, and never trained on; all are left out in turn
            if empty. The others only train.
    """

    corpora: tuple[str, ...]
    classes: tuple[str, ...]
    class_map: Mapping[str, str]
    clips: int
    subjects: int
    counts: tuple[int, ...] = ()
    sha256: str = ""
    drop: Mapping[str, str] = field(default_factory=dict)
    scale: Scale = PAPER_SCALE
    version: int = 1
    banner: str = ""
    fold: str = "subject"
    tested: tuple[str, ...] = ()


MIDDLE, FLOW_PEAK = "middle", "flow-peak"
APEX_RULES = (MIDDLE, FLOW_PEAK)
"""How a blank apex is filled; kept in the clips table as `apex_source`."""


@dataclass(frozen=True)
class Public:
    """Public files of a corpus that the user may fetch: a git repository at a pinned commit, with SHA-256 sums.

    `paths` are the files and folders wanted of it, `sums` the list of sums (`fetch.listed`), and `state` says under
    what terms the files lie there; it is told before anything is fetched.
    """

    url: str
    commit: str
    paths: tuple[str, ...]
    sums: Path
    state: str


@dataclass(frozen=True)
class Dataset:
    """A corpus: facts as data, and how to read its sheet.

    Args:
        title: the corpus's full name.
        read_annotations: root folder -> TABLE 1 (`clips.COLUMNS`), as released, mends not yet applied.
        licence: in one line, with where to ask for the corpus.
        tasks: the tasks defined on this corpus (a composite is listed by the corpus named first).
        make: for generated corpora: writes the whole release folder into an empty folder; `tick(done, total)` is
            called as it goes.
        signature: for generated corpora: every setting that made the frames; a change makes a new folder.
        read_flow: for corpora released as flow pictures: (root, one clip's row) -> (h, w, 3) uint8 u, v, strain.
        mends: corrections, applied by `clips.mend`.
        url: the corpus's home page.
        apex: how a blank apex is filled, one of `APEX_RULES`.
        emotions: every emotion the sheet may hold, with the expected number of clips (0: no source states it); empty
            if anything may stand there.
        clips: expected number of clips in the whole sheet; 0 where no source states it.
        subjects: likewise.
        editions: other releases of the same corpus (another sheet, another camera), asked for as `NAME:EDITION`.
        public: where files of it lie in public, if any do.
        made_of: for composites without a release of their own: the corpora to add instead.
        released: subject -> its name in the release (`casme2/05` -> `sub05`), as files of published weights are called.
        people: whose recordings these are, where another corpus shows the same people; the corpus's own name if empty.
    """

    title: str
    read_annotations: Callable[[Path], pl.DataFrame]
    licence: str
    tasks: Mapping[str, Task] = field(default_factory=dict)
    make: Callable[[Path, Callable[[int, int], None]], None] | None = None
    signature: str = ""
    read_flow: Callable[[Path, Mapping[str, Any]], np.ndarray] | None = None
    mends: tuple[Mend, ...] = ()
    url: str = ""
    apex: str = MIDDLE
    emotions: Mapping[str, int] = field(default_factory=dict)
    clips: int = 0
    subjects: int = 0
    editions: Mapping[str, Dataset] = field(default_factory=dict)
    public: Public | None = None
    made_of: tuple[str, ...] = ()
    released: Callable[[str], str] | None = None
    people: tuple[str, ...] = ()


@dataclass(frozen=True)
class Printed:
    """One number a paper prints, with the selection rule its code used (as far as anyone could read)."""

    task: str
    metric: str
    value: float
    rule: str


@dataclass(frozen=True)
class Paper:
    """Where a method comes from, under what licence its code stands, and what it printed.

    `confusions` are tables of counts (rows the truth) that its authors published or that its own log sums to, by task;
    a number printed for a corpus's part of a composite names `TASK/CORPUS`.
    """

    title: str
    year: int
    url: str
    licence: str
    code: str = ""
    printed: tuple[Printed, ...] = ()
    confusions: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)


RANGES = (
    ("epochs", 1, 32767),
    ("batch_size", 2, 1e9),
    ("lr", 0, inf),
    ("weight_decay", 0, 100),
    ("momentum", 0, 1),
    ("gamma", 0, 1),
    ("decay_epochs", 0, 1e9),
    ("label_smoothing", 0, 1),
    ("flip", 0, 1),
    ("rotate", 0, 180),
    ("shift", 0, 1),
    ("jitter", 0, 4),
    ("colour", 0, 1),
    ("clip_norm", 0, 1e9),
)
"""Recipe fields and what they may be; epochs must fit the predictions table's int16."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. Every difference between published scripts is a named field.

    Args:
        epochs: length of the schedule; the `last` rule scores its end.
        batch_size: clips a step; a last batch of fewer than two clips joins the one before.
        lr: peak learning rate.
        weight_decay: decoupled for adamw.
        optimizer: adamw, adam or sgd.
        momentum: of sgd.
        schedule: constant, exponential, step, cosine or onecycle.
        gamma: factor of the exponential schedule per epoch, of the step schedule per step.
        decay_epochs: the exponential schedule stands still after so many epochs; the step schedule steps every so many.
        label_smoothing: of the cross-entropy.
        class_weights: none, or balanced (inverse frequency among the fold's training clips).
        flip: probability of mirroring a clip.
        rotate: largest rotation, degrees.
        shift: largest shift, as a share of the image side; uncovered pixels take the mean colour.
        jitter: how far the onset and apex frame may move, as a share of a quarter of their distance (MMNet scripts:
            .15 to .2); `jitter_after_apex` lets the apex move forward too.
        jitter_after_apex: see `jitter`.
        colour: largest relative change of brightness and of contrast.
        clip_norm: gradient norm clipping; 0 is none.
    """

    epochs: int = 30
    batch_size: int = 32
    lr: float = 8e-4
    weight_decay: float = 0.05
    optimizer: str = "adamw"
    momentum: float = 0.9
    schedule: str = "constant"
    gamma: float = 0.987
    decay_epochs: int | None = None
    label_smoothing: float = 0.0
    class_weights: str = "none"
    flip: float = 0.0
    rotate: float = 0.0
    shift: float = 0.0
    jitter: float = 0.0
    jitter_after_apex: bool = False
    colour: float = 0.0
    clip_norm: float = 0.0

    def __post_init__(self) -> None:
        allowed = {
            "optimizer": ("adamw", "adam", "sgd"),
            "schedule": ("constant", "exponential", "step", "cosine", "onecycle"),
            "class_weights": ("none", "balanced"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise UsageError(f"recipe.{name}={getattr(self, name)!r} is unknown; one of {', '.join(values)}")
        for name, low, high in RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"recipe.{name}={value!r} should lie between {low:g} and {high:g}")


@dataclass(frozen=True)
class Baseline:
    """A method under our protocol.

    Args:
        model: `model(num_classes=K, **options)` gives a torch module whose `forward` arguments are the view's keys, or
            an object with `fit(inputs, labels)` and `predict_proba(inputs)` on numpy arrays (and `describe(clip)`, if
            what it makes of a clip is dear: see `classical`; `keep()`, which gives arrays, and `restore(arrays)`, if
            `mer-bench fit` is to keep it). A network may have `attention_maps(**inputs)`, (B, 1, h, w) each.
        view: what the model is shown: `onset_apex`, `apex`, `flow`, `uv`, `clip` or `flow_clip` (see `inputs`), with a
            size of its own (`flow@28`) where it has one; or a function of the model options that returns this.
        recipe: how it is trained; None for models with a `fit` of their own.
        presets: name -> settings (model options and recipe fields by name).
        small: settings that keep the structure at a size a test can train.
        suggest: `suggest(trial)`, for a user's own file; the project's spaces live in `search_spaces/`.
        paper: where it comes from.
        other_presets: the settings of a preset that `presets` does not list (`timm:NAME`), or a `UsageError`.
        settle: model options -> those that are changed on this machine (weights it lacks), each with a `Remark`; asked
            once, by the driver, and recorded.
    """

    model: Callable[..., Any]
    view: str | Callable[[Mapping[str, Any]], str]
    recipe: Recipe | None = None
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    small: Mapping[str, Any] = field(default_factory=dict)
    suggest: Callable[[Any], Mapping[str, Any] | None] | None = None
    paper: Paper | None = None
    other_presets: Callable[[str], Mapping[str, Any]] | None = None
    settle: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class Setting:
    """A resolved question about a model: its options and recipe, ready to build and train.

    `options` holds the model's keyword arguments after scaling; `view` names the input and its size in pixels.
    """

    model: str
    options: Mapping[str, Any]
    recipe: Recipe | None
    view: str

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        recipe = {f.name: getattr(self.recipe, f.name) for f in fields(Recipe)} if self.recipe else None
        return {"model": self.model, "options": dict(self.options), "recipe": recipe, "view": self.view}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Setting:
        """Inverse of `as_dict`."""
        recipe = Recipe(**data["recipe"]) if data["recipe"] else None
        return cls(model=data["model"], options=dict(data["options"]), recipe=recipe, view=data["view"])


def model_options(baseline: Baseline, name: str = "the model") -> dict[str, Any]:
    """Names and defaults of the model's keyword options, without `num_classes`.

    Raises:
        UsageError: an option without a default, or with one that cannot be recorded.
    """
    found = {}
    for option, parameter in inspect.signature(baseline.model).parameters.items():
        if option in ("self", "num_classes") or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if not isinstance(parameter.default, bool | int | float | str | tuple | list | None):
            shown = "no default" if parameter.default is parameter.empty else f"the default {parameter.default!r}"
            raise UsageError(f"{name}: option {option!r} has {shown}; give it a number, a word or a list of these")
        found[option] = parameter.default
    return found


def resolve(
    name: str,
    baseline: Baseline,
    preset: str = "",
    proposed: Mapping[str, Any] | None = None,
    scale: Scale = PAPER_SCALE,
    pinned: Mapping[str, Any] | None = None,
) -> Setting:
    """Turn a baseline, a preset, proposed values and values given by hand into a `Setting` at a task's scale.

    A value is named plainly (`lr`, `depth`) or with its part (`recipe.lr`, `model.depth`). Proposed values are those of
    the published scale and are scaled like the defaults; `pinned` values are meant as they are.

    Raises:
        UsageError: an unknown preset or name; the known ones are listed.
    """
    options, recipe = model_options(baseline, name), baseline.recipe
    options, recipe = _with(name, options, recipe, {**_preset(name, baseline, preset), **(proposed or {})})
    options, recipe = _scaled(options, recipe, scale)
    options, recipe = _with(name, options, recipe, pinned or {})
    view = baseline.view(options) if callable(baseline.view) else baseline.view
    if "@" not in view:
        view = f"{view}@{options.get('image_size', scale.image_size)}"
    if recipe and recipe.jitter and view.startswith(("onset_apex@", "apex@")):
        view += "+near"
    return Setting(model=f"{name}:{preset}" if preset else name, options=options, recipe=recipe, view=view)


def _preset(name: str, baseline: Baseline, preset: str) -> Mapping[str, Any]:
    if not preset or preset in baseline.presets:
        return baseline.presets.get(preset, {})
    if baseline.other_presets is not None:
        return baseline.other_presets(preset)
    known = ", ".join(sorted(baseline.presets)) or "none"
    raise UsageError(f"{name} has no preset {preset!r}; known: {known}")


def _with(
    name: str, options: Mapping[str, Any], recipe: Recipe | None, values: Mapping[str, Any]
) -> tuple[dict[str, Any], Recipe | None]:
    options = dict(options)
    for key, value in values.items():
        part, plain = key.split(".", 1) if "." in key else ("", key)
        if part in ("", "model") and plain in options:
            options[plain] = _like(f"model.{plain}", options[plain], value)
        elif part in ("", "recipe") and recipe is not None and plain in RECIPE_FIELDS:
            recipe = replace(recipe, **{plain: _like(f"recipe.{plain}", getattr(recipe, plain), value)})
        else:
            recipe_names = RECIPE_FIELDS if recipe else ()
            known = ", ".join([*(f"model.{o}" for o in options), *(f"recipe.{r}" for r in recipe_names)])
            raise UsageError(f"{name} has no setting {key!r}; known: {known or 'none'}")
    return options, recipe


def _scaled(options: dict[str, Any], recipe: Recipe | None, scale: Scale) -> tuple[dict[str, Any], Recipe | None]:
    if "image_size" in options:
        factor = scale.image_size / PUBLISHED_IMAGE_SIZE
        options["image_size"] = max(8, round(options["image_size"] * factor))
        if recipe and scale.epochs:
            recipe = replace(recipe, epochs=min(recipe.epochs, scale.epochs))
    if "width" in options:
        options["width"] = options["width"] * scale.width
    return options, recipe


RECIPE_FIELDS = tuple(f.name for f in fields(Recipe))


def _like(name: str, default: Any, value: Any) -> Any:
    """`value` as the default's type: whole numbers may stand for floats; anything else must match."""
    if default is None or (value is None and name == "recipe.decay_epochs"):
        return value
    if isinstance(default, bool) or isinstance(value, bool):
        ok = isinstance(default, bool) and isinstance(value, bool)
    elif isinstance(default, float):
        ok, value = isinstance(value, int | float), float(value) if isinstance(value, int | float) else value
    elif isinstance(default, int):
        ok = isinstance(value, int)
    elif isinstance(default, tuple | list):
        ok, value = isinstance(value, tuple | list), tuple(value) if isinstance(value, tuple | list) else value
    else:
        ok = isinstance(value, type(default))
    if not ok:
        raise UsageError(f"{name}={value!r} should be like its default {default!r} ({type(default).__name__})")
    return value
