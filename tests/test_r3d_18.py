"""R3D-18 against torchvision's: same names, same parameters, same logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mer_bench import catalog
from mer_bench.contracts import Scale, resolve


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """torchvision's builder, imported as plug-ins are, so that it loads beside a CPU-built torch too."""
    path: Path = tmp_path_factory.mktemp("plugin") / "reference.py"
    path.write_text("from torchvision.models.video import r3d_18\n")
    return vars(catalog.load("baseline", path))["r3d_18"]


def build(**options: Any) -> nn.Module:
    model: nn.Module = catalog.baseline("r3d_18").model(**options)
    return model


def test_the_published_size_has_torchvisions_parameters(reference: Any) -> None:
    with torch.device("meta"):
        ours, theirs = build(num_classes=400), reference(num_classes=400)
    shapes = [{name: tuple(value.shape) for name, value in model.state_dict().items()} for model in (ours, theirs)]
    assert shapes[0] == shapes[1]
    assert sum(p.numel() for p in ours.parameters()) == 33_371_472


def test_its_weights_give_its_logits(reference: Any) -> None:
    torch.manual_seed(0)
    theirs = reference(num_classes=3).eval()
    ours = build(num_classes=3).eval()
    ours.load_state_dict(theirs.state_dict())
    clip = torch.rand(2, 3, 8, 40, 40) * 255
    with torch.no_grad():
        torch.testing.assert_close(ours(clip), theirs(clip / 127.5 - 1), rtol=1e-4, atol=1e-5)


def test_a_task_scales_it() -> None:
    setting = resolve("r3d_18", catalog.baseline("r3d_18"), scale=Scale(48, 0.25, 12))
    assert setting.view == "flow_clip@24" and setting.recipe is not None and setting.recipe.epochs == 12
    assert build(num_classes=3, **setting.options).get_parameter("fc.weight").shape == (3, 128)
