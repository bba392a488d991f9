"""Fine-tuning a Qwen3-VL with TRL: full and LoRA, saved, loaded by the adapter, resumed after an interruption."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_checkpoints as tiny
from tiny_rows import ANSWER, png, save_rows

torch = pytest.importorskip("torch")
pytest.importorskip("trl")

from safetensors.torch import load_file  # noqa: E402

from itk_embodied.agents.base import CallContext  # noqa: E402
from itk_embodied.agents.conformance import example_image  # noqa: E402
from itk_embodied.agents.contracts import verdict_schema  # noqa: E402
from itk_embodied.agents.qwen3vl.adapter import Qwen3VLAgentModel  # noqa: E402
from itk_embodied.agents.qwen3vl.critic import BOOLEAN_KEY  # noqa: E402
from itk_embodied.agents.settings import Qwen3VLCriticSettings  # noqa: E402
from itk_embodied.cli import main  # noqa: E402
from itk_embodied.errors import CheckpointError, ConfigError, InputError  # noqa: E402
from itk_embodied.training.tuning import runs  # noqa: E402
from itk_embodied.training.tuning.presets import changed, load_preset, preset_names  # noqa: E402
from itk_embodied.training.tuning.rows import load_rows  # noqa: E402
from itk_embodied.training.tuning.sft import fine_tune  # noqa: E402

SMALL = (
    "bf16=false",
    "per_device_train_batch_size=2",
    "gradient_accumulation_steps=1",
    "gradient_checkpointing=false",
    "logging_steps=1",
    "save_steps=2",
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny.save_qwen3vl(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return save_rows(tmp_path_factory.mktemp("rows") / "critic.parquet")


def tune(model: Path, data: Path, out: Path, *, steps: int = 4, more: tuple[str, ...] = (), **options) -> Path:
    options = {"preset": "critic-8b"} | options
    return fine_tune("critic", str(model), [data], out, steps=steps, changes=SMALL + more, progress=False, **options)


def true_probability(model: Path, **changes) -> float:
    """P(true) as the critic's adapter reads it; a random model's text would not parse."""
    settings = Qwen3VLCriticSettings(
        checkpoint=str(model), device="cpu", max_new_tokens=100, max_think_chars=8, **changes
    )
    images = [example_image(64, 64), example_image(64, 64)[:, ::-1].copy()]
    answer = Qwen3VLAgentModel.load(settings).answer(
        ("", "put it | put it"), images, verdict_schema(), settings, CallContext(seed=1), BOOLEAN_KEY
    )
    assert answer.true_probability is not None
    return answer.true_probability


def test_in_full_the_language_part_learns_and_the_eyes_stay(model: Path, data: Path, tmp_path: Path) -> None:
    folder = tune(model, data, tmp_path, more=("learning_rate=1e-2",))
    before, after = load_file(model / "model.safetensors"), load_file(folder / "model.safetensors")
    moved = {name for name in after if not torch.equal(before[name].bfloat16(), after[name])}
    assert moved and not [name for name in moved if "visual" in name]
    assert any("mlp" in name for name in moved)
    assert true_probability(folder) != true_probability(model)
    assert not list(folder.glob("*.bin"))
    header, *lines = (tmp_path / "curves.csv").read_text().splitlines()
    assert header.startswith("step,loss") and [line.split(",")[0] for line in lines] == ["1", "2", "3", "4"]
    assert float(lines[-1].split(",")[1]) < float(lines[0].split(",")[1]), "the loss falls"
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_lora_learns_beside_the_model_and_loads_through_the_stack_key(model: Path, data: Path, tmp_path: Path) -> None:
    folder = tune(model, data, tmp_path, lora=True, more=("learning_rate=5e-2",))
    names = set(load_file(folder / "adapter_model.safetensors"))
    assert names and all("language_model" in name for name in names)
    plain, adapted = true_probability(model), true_probability(model, lora=str(folder))
    assert plain != adapted, "the adapter counts, and is another model than the checkpoint alone"
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        true_probability(model, lora=str(tmp_path / "nowhere"))


def test_a_resumed_run_equals_an_unbroken_one(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_file(tune(model, data, tmp_path / "whole", more=("learning_rate=1e-3",)) / "model.safetensors")
    from trl import SFTTrainer

    real, calls = SFTTrainer.training_step, []

    def dying(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, *args, **kwargs)

    monkeypatch.setattr(SFTTrainer, "training_step", dying)
    with pytest.raises(KeyboardInterrupt):
        tune(model, data, tmp_path / "broken", more=("learning_rate=1e-3",))
    monkeypatch.undo()
    half_written = tmp_path / "broken/checkpoint-3"  # the process died while it saved
    half_written.mkdir()
    (half_written / "model.safetensors").write_bytes(b"\0" * 100)
    assert runs.last_whole_checkpoint(tmp_path / "broken").name == "checkpoint-2"
    broken = load_file(tune(model, data, tmp_path / "broken", more=("learning_rate=1e-3",)) / "model.safetensors")
    assert all(torch.equal(whole[name], broken[name]) for name in whole)
    with pytest.raises(ConfigError, match="another preset; give another --out"):
        tune(model, data, tmp_path / "broken", more=("learning_rate=1e-4",))

    monkeypatch.setattr(SFTTrainer, "training_step", lambda *args, **kwargs: pytest.fail("it was done"))
    again = load_file(tune(model, data, tmp_path / "broken", more=("learning_rate=1e-3",)) / "model.safetensors")
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_the_published_settings_are_the_presets_of_large_models() -> None:
    planner, critic = (load_preset(f"{role}-8b", role) for role in ("planner", "critic"))  # type: ignore[arg-type]
    for preset, epochs in ((planner, 3), (critic, 2)):
        published = {
            "num_train_epochs": epochs, "learning_rate": 2e-5, "lr_scheduler_type": "cosine", "warmup_steps": 0.1,
            "bf16": True,
        }  # fmt: skip
        assert {name: preset.arguments[name] for name in published} == published
        assert set(preset.freeze) == {"vision", "projector"}
    assert changed(planner, (), lora=True).arguments["learning_rate"] == planner.lora.learning_rate
    assert changed(planner, ("learning_rate=3e-5",), lora=True).arguments["learning_rate"] == 3e-5
    assert preset_names("critic") == ("critic-8b", "critic-tiny")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"preset": "critic-9b"}, ConfigError, "Did you mean 'critic-8b'"),
        ({"preset": "planner-8b"}, ConfigError, "is for planner, not critic"),
        ({"more": ("learning_rat=1",)}, ConfigError, "Did you mean 'learning_rate'"),
        ({"more": ("learning_rate",)}, ConfigError, "NAME=VALUE"),
    ],
)
def test_wrong_settings_are_refused_before_anything_loads(options, error, says, model, data, tmp_path) -> None:
    with pytest.raises(error, match=says):
        tune(model, data, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_rows_that_are_none_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no parquet file"):
        tune(model, tmp_path / "nothing.parquet", tmp_path / "out")
    (tmp_path / "text.parquet").write_text("not parquet")
    with pytest.raises(InputError, match="cannot be read as parquet"):
        tune(model, tmp_path / "text.parquet", tmp_path / "out")
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(InputError, match="columns a; expected images with prompt and completion"):
        tune(model, tmp_path / "other.parquet", tmp_path / "out")


def test_a_sets_messages_are_question_and_answer(tmp_path: Path) -> None:
    from datasets import Dataset, Image, List

    said = [{"role": "user", "content": "the task"}, {"role": "assistant", "content": ANSWER}]
    row = {"images": [{"bytes": png(1), "path": None}, {"bytes": png(2), "path": None}], "messages": said, "cut": 0}

    def save(rows: list[dict]) -> Path:
        Dataset.from_list(rows).cast_column("images", List(Image())).to_parquet(str(tmp_path / "rows.parquet"))
        return tmp_path / "rows.parquet"

    (only,) = load_rows([save([row])], "critic")
    assert set(only) == {"images", "prompt", "completion"}
    assert only["prompt"] == said[:1] and only["completion"] == said[1:]
    assert [picture.size for picture in only["images"]] == [(64, 64)] * 2
    with pytest.raises(InputError, match="do not end with an assistant's answer"):
        load_rows([save([row | {"messages": said[:1]}])], "critic")


def test_the_command_runs_and_says_how_to_use_the_result(model: Path, tmp_path: Path, capsys) -> None:
    rows = save_rows(tmp_path / "planner.parquet", 2, pictures=1, answer=ANSWER)
    words = [
        "train",
        "planner",
        "--model",
        model,
        "--data",
        rows,
        "--out",
        tmp_path / "run",
        "--preset",
        "planner-tiny",
    ]
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in [*words, "--preset", "planner-tiny", "--lora", "--steps", 1]])
    assert not ended.value.code
    said = capsys.readouterr().out
    assert "[planner]" in said and f'lora = "{tmp_path / "run/adapter"}"' in said


def test_launcher_files_are_shipped(capsys) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    for name in ("fsdp", "deepspeed-zero2", "deepspeed-zero3", "multi-gpu"):
        with pytest.raises(SystemExit):
            main(["train", "launcher", name])
        there = Path(capsys.readouterr().out.strip())
        assert load_config_from_file(str(there)).mixed_precision == "bf16", "accelerate knows every key"
    with pytest.raises(SystemExit) as ended:
        main(["train", "launcher", "fdsp"])
    assert ended.value.code == 2 and "fsdp" in capsys.readouterr().err
