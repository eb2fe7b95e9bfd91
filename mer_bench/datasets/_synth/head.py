"""A subject: a random head, rendered once, then bent for every frame.

Rendering is slow and muscles move a face by a pixel or so; therefore the neutral face is drawn once at twice its size,
and a frame is that picture warped by where the mesh moved, and relit by how its normals turned.

    motions   (M, h, w, 3)   h, w = the picture's size / COARSE: x, y in pixels, and relative light, of each unit motion
    amounts   (F, M)         how much of each motion a frame shows
    frames    (F, H, W, 3)   float32 BGR, as light before the camera
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mer_bench.datasets._synth import asset, eyes, skin
from mer_bench.datasets._synth.raster import NOTHING, look_up, normals, raster, spread

SUPERSAMPLING = 2
COARSE = 4
VIEWING_DISTANCE = 9.0
"""Of the camera from the eyes, in IODs."""
EYE_ROW = 0.335
"""Height of the eyes in the picture, as a share of its height."""
IDENTITY_SPREAD = 0.9
RIGID_STEP = 0.01
"""Unit of the rigid motions: IODs for shifts, radians for turns."""
PIVOT = np.array([0.0, 0.6, 0.9])
"""Heads turn about a point behind the mouth."""
RIGID = ("tx", "ty", "tz", "pitch", "yaw", "roll")


@dataclass(frozen=True, eq=False)
class Camera:
    """Size of the picture in pixels, and the inter-ocular distance in it."""

    width: int
    height: int
    iod: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """(V, 3) canonical -> x, y in pixels (centres at .5) and depth."""
        scale = self.iod * VIEWING_DISTANCE / (VIEWING_DISTANCE + points[:, 2])
        x, y = self.width / 2 + scale * points[:, 0], EYE_ROW * self.height + scale * points[:, 1]
        return np.stack([x, y, points[:, 2]], axis=1)


@dataclass(frozen=True, eq=False)
class Head:
    """A rendered subject.

    Args:
        camera: the picture's geometry.
        picture: (H, W, 3) float32 BGR, the neutral face.
        vertices: (V, 3) canonical.
        light: (3,) direction towards the lamp.
        corners: (h, w, 3) vertex numbers seen by every `COARSE`-th pixel.
        weights: (h, w, 3) their barycentric weights, 0 beside the head.
    """

    camera: Camera
    picture: np.ndarray
    vertices: np.ndarray
    light: np.ndarray
    corners: np.ndarray
    weights: np.ndarray

    def landmarks(self) -> np.ndarray:
        """(68, 2) of the neutral face, in pixels with centres at whole numbers, as detectors count."""
        projected: np.ndarray = self.camera.project(self.vertices)[asset.load().landmark_vertices, :2] - 0.5
        return projected

    def motions(self, names: Sequence[str]) -> np.ndarray:
        """(M, h, w, 3) float32 of facial actions (names in the asset) and rigid motions (`RIGID`)."""
        return np.stack([self._motion(self._displacement(name)) for name in names])

    def _displacement(self, name: str) -> np.ndarray:
        if name not in RIGID:
            return asset.load().units[name]
        axis, step = RIGID.index(name), np.zeros(3)
        step[axis % 3] = RIGID_STEP
        if axis < 3:
            return np.broadcast_to(step, self.vertices.shape)
        return np.asarray((self.vertices - PIVOT) @ cv2.Rodrigues(step)[0].T + PIVOT - self.vertices)

    def _motion(self, displacement: np.ndarray) -> np.ndarray:
        triangles, moved = asset.load().triangles, self.vertices + displacement
        shift = (self.camera.project(moved) - self.camera.project(self.vertices))[:, :2]
        before = normals(self.vertices, triangles)
        lit, change = before @ self.light, (normals(moved, triangles) - before) @ self.light
        # .6 of ambient light keeps the relative change finite where the lamp does not reach.
        values = np.column_stack([shift, change / np.clip(lit + 0.6, 0.3, None)]).astype(np.float32)
        seen = (values[self.corners] * self.weights[..., None]).sum(2)
        return np.asarray(cv2.GaussianBlur(seen, (0, 0), 0.6))

    def frames(self, motions: np.ndarray, amounts: np.ndarray) -> Iterator[np.ndarray]:
        """Frames (H, W, 3) float32 for each row of `amounts` (F, M)."""
        height, width = self.camera.height, self.camera.width
        rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
        grid = np.stack([columns, rows], axis=2)
        for row in amounts.astype(np.float32):
            right, down, change = cv2.split(_to_full(np.tensordot(row, motions, 1), width, height))
            shift = cv2.merge([right, down])
            # The shift is known where skin came from, and needed where it went: two rounds of a fixed point.
            source = grid - shift
            for _ in range(2):
                source = grid - look_up(shift, source)
            yield look_up(self.picture, source, cv2.INTER_CUBIC) * spread(np.clip(1 + 0.6 * change, 0.8, 1.25))


def _to_full(coarse: np.ndarray, width: int, height: int) -> np.ndarray:
    """A coarse map at the picture's size; coarse pixel (i, j) shows pixel `COARSE` times (i, j), and a little more."""
    beside = (SUPERSAMPLING // 2 + 0.5) / SUPERSAMPLING - 0.5
    matrix = np.array([[COARSE, 0, beside], [0, COARSE, beside]], np.float32)
    return cv2.warpAffine(coarse, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def render(camera: Camera, rng: np.random.Generator) -> Head:
    """A random subject: a shape from the identity components, skin, eyes, and a lamp above the camera."""
    face = asset.load()
    vertices = face.mean + np.tensordot(rng.normal(size=len(face.modes)) * IDENTITY_SPREAD, face.modes, 1)
    canvas, look = skin.paint(face.landmarks, rng), eyes.gaze(rng)
    light = np.array([rng.normal(0, 0.35), rng.normal(-0.55, 0.15), -0.8])
    light /= np.linalg.norm(light)

    width, height = camera.width * SUPERSAMPLING, camera.height * SUPERSAMPLING
    points = camera.project(vertices) * (SUPERSAMPLING, SUPERSAMPLING, 1)
    number, weights, depth = raster(points, face.triangles, height, width)
    hit, corners = number != NOTHING, face.triangles[np.maximum(number, 0)]
    part = np.where(hit, face.part[np.maximum(number, 0)], -1)
    colour = _colours(face, vertices, canvas, look, corners, weights, part)
    normal = _interpolated(normals(vertices, face.triangles), corners, weights)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True) + 1e-6
    lit = _light(colour, normal, depth, part, light, camera.iod * SUPERSAMPLING, rng)
    wall = rng.uniform(60, 190) * np.exp(rng.normal(0, 0.06, 3)) * np.linspace(1.05, 0.85, height)[:, None, None]
    picture = cv2.GaussianBlur(np.where(hit[..., None], lit, wall).astype(np.float32), (0, 0), 0.7)
    picture = cv2.resize(picture, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    step = COARSE * SUPERSAMPLING
    # A picture's pixel covers SUPERSAMPLING squared drawn ones; the one beside its middle stands for it.
    sampled = np.s_[SUPERSAMPLING // 2 :: step, SUPERSAMPLING // 2 :: step]
    return Head(camera, np.clip(picture, 0, 255), vertices, light, corners[sampled], weights[sampled])


def _interpolated(values: np.ndarray, corners: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Values of vertices (V, C) at pixels (h, w, C); 0 where nothing is."""
    seen: np.ndarray = (values.astype(np.float32)[corners] * weights[..., None]).sum(2)
    return seen


def _colours(
    face: asset.Asset,
    vertices: np.ndarray,
    canvas: np.ndarray,
    look: eyes.Gaze,
    corners: np.ndarray,
    weights: np.ndarray,
    part: np.ndarray,
) -> np.ndarray:
    """(h, w, 3) unlit colours: the canvas where there is skin, eyeballs where they show."""
    place = skin.to_canvas(_interpolated(face.mean, corners, weights)[..., :2]).astype(np.float32)
    colour = look_up(canvas, place)
    where = _interpolated(vertices, corners, weights)
    for eye in (asset.RIGHT_EYE, asset.LEFT_EYE):
        ball = vertices[np.unique(face.triangles[face.part == eye])]
        colour[part == eye] = eyes.colours(where[part == eye], ball, look)
    return colour


def _light(
    colour: np.ndarray,
    normal: np.ndarray,
    depth: np.ndarray,
    part: np.ndarray,
    light: np.ndarray,
    iod: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """(h, w, 3) BGR: ambient light less in hollows, a lamp whose red creeps through skin, and a sheen."""
    lamp = np.clip(normal @ light, 0, 1).astype(np.float32)
    # Light scatters in skin before it leaves, red the farthest; blurring the lamp per channel looks like it.
    scattered = [lamp, cv2.GaussianBlur(lamp, (0, 0), iod * 0.008), cv2.GaussianBlur(lamp, (0, 0), iod * 0.02)]
    halfway = light + (0, 0, -1)
    shine = np.clip(normal @ (halfway / np.linalg.norm(halfway)), 0, 1) ** 22
    height, width = depth.shape
    sheen = 0.13 * shine * (1 + 0.35 * skin.octaves(rng, height, width, 120, 2)) * (part == asset.SKIN)
    flat = np.where(np.isfinite(depth), depth, 1.5).astype(np.float32)
    near, far = (flat - cv2.GaussianBlur(flat, (0, 0), iod * reach) for reach in (0.05, 0.14))
    open_sky = np.clip(1 - 2.2 * np.clip(near, 0, 0.2) - 1.2 * np.clip(far, 0, 0.3), 0.35, 1)
    shading = (0.42 - 0.13 * normal[..., 1:2]) + 0.62 * np.stack(scattered, axis=2)
    lit: np.ndarray = (1.02 * colour * shading + 255 * sheen[..., None]) * open_sky[..., None]
    return lit
