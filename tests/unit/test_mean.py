"""Means of checkpoints: every tensor, the first one's other files, and nothing where the models differ."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from itk_embodied.cli import main
from itk_embodied.errors import ConfigError
from itk_embodied.training.mean import Part, mean_of


def checkpoint(folder: Path, value: float, *, rows: int = 2, tokens: str = "same", steps: int = 3) -> Path:
    (folder / "unet").mkdir(parents=True)
    (folder / "tokenizer.json").write_text(tokens)
    (folder / "config.json").write_text(folder.name)
    save_file({"w": torch.full((rows, 3), value, dtype=torch.bfloat16)}, folder / "model.safetensors", {"format": "pt"})
    save_file({"v": torch.full((2,), 2 * value), "steps": torch.tensor(steps)}, folder / "unet" / "model.safetensors")
    return folder


def test_shares_weigh_every_file_and_the_first_gives_type_and_the_rest(tmp_path: Path) -> None:
    one, other = checkpoint(tmp_path / "one", 1.0), checkpoint(tmp_path / "other", 5.0)
    out = mean_of([Part(one, 3), Part(other, 1)], tmp_path / "out")
    top, unet = load_file(out / "model.safetensors"), load_file(out / "unet" / "model.safetensors")
    assert top["w"].dtype == torch.bfloat16 and torch.equal(top["w"].float(), torch.full((2, 3), 2.0))
    assert torch.equal(unet["v"], torch.full((2,), 4.0)) and unet["steps"] == 3
    assert (out / "config.json").read_text() == "one"


@pytest.mark.parametrize(
    ("unlike", "says"),
    [({"rows": 4}, "kind of model"), ({"tokens": "other"}, "words"), ({"steps": 4}, "whole numbers")],
)
def test_models_that_differ_have_no_mean_and_nothing_is_left(tmp_path: Path, unlike: dict[str, int], says: str) -> None:
    one, other = checkpoint(tmp_path / "one", 1.0), checkpoint(tmp_path / "other", 5.0, **unlike)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=says):
        mean_of([Part(one), Part(other)], tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_the_command_and_what_it_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = checkpoint(tmp_path / "one", 1.0), checkpoint(tmp_path / "other", 5.0)

    def run(*words: str) -> tuple[object, str]:
        with pytest.raises(SystemExit) as ended:
            main(["train", "mean", *words, "--out", str(tmp_path / "out")])
        return ended.value.code, capsys.readouterr().err

    code, error = run(f"{one}=0.4", f"{other}=much")
    assert code == 2 and "such as 0.4" in error
    assert "two or more" in run(str(one))[1]
    for share in ("0", "-1", "nan", "inf"):
        assert "more than 0" in run(str(one), f"{other}={share}")[1]
    assert run(f"{one}=0.25", f"{other}=0.75")[0] == 0
    assert torch.equal(load_file(tmp_path / "out" / "unet" / "model.safetensors")["v"], torch.full((2,), 8.0))
    assert "already" in run(str(one), str(other))[1]
