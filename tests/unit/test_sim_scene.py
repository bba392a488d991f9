"""Scenes as data: what a spec allows, JSON there and back, random inventories that fit on the table."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from itk_sim.errors import SimError
from itk_sim.layout import draw_layout
from itk_sim.measures import DRAWER_OPEN_M
from itk_sim.placing import CLEARANCE_M, workspace
from itk_sim.randomise import Randomisation, draw_looks
from itk_sim.scene import SAMPLED_SEEDS, SceneSpec, sample_scene
from itk_sim.symbols import BOWL_COLOURS, CUBE_COLOURS, DRAWER, TABLE


def test_the_words_of_the_table_load_neither_torch_nor_mujoco() -> None:
    code = (
        "import sys, itk_sim, itk_sim.symbols, itk_sim.scene, itk_sim.layout, itk_sim.placing\n"
        "heavy = {'torch', 'mujoco', 'cv2', 'itk_embodied'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_the_table_itself_loads_no_torch() -> None:
    code = "import sys, itk_sim.table, itk_sim.pairs; assert not {'torch', 'itk_embodied'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_unknown_name_of_the_package_is_named() -> None:
    import itk_sim

    with pytest.raises(AttributeError, match="Tabel"):
        _ = itk_sim.Tabel


def test_json_scene_is_plain_unless_it_says_otherwise() -> None:
    spec = SceneSpec.from_json({"seed": 5, "cubes": ["red", "blue"], "bowls": ["teal"], "mat": None, "drawer": True})
    assert spec.stacked is False
    assert spec.drawer_open is False
    layout = draw_layout(np.random.default_rng(0), spec)
    assert set(layout.support.values()) == {TABLE}
    assert layout.slide_m == 0.0


@pytest.mark.parametrize(
    "spec",
    [
        SceneSpec(1, ("red",)),
        SceneSpec(2, ("red", "blue"), ("teal",), "grey", True, drawer_open=True, stacked=True),
        SceneSpec(3, ("green",), stacked=False, drawer_open=False, randomise=Randomisation(light=False, strength=0.5)),
    ],
)
def test_json_round_trip(spec: SceneSpec) -> None:
    assert SceneSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({"cubes": ["red"]}, "seed"),
        ({"seed": 1, "cubes": ["mauve"]}, "red, green"),
        ({"seed": 1, "cubes": ["red", "red"]}, "at most once"),
        ({"seed": 1, "cubes": ["red"], "bowls": ["red"]}, "white, teal, pink"),
        ({"seed": 1, "cubes": ["red"], "mat": "blue"}, "grey"),
        ({"seed": -1, "cubes": ["red"]}, "-1"),
        ({"seed": 1, "cubes": ["red"], "cups": []}, "cups"),
        ({"seed": 1, "cubes": ["red"], "randomise": {"fog": True}}, "fog"),
        ({"seed": 1, "cubes": ["red"], "randomise": {"strength": 9}}, "0 to 2"),
    ],
)
def test_bad_scene_says_what_is_allowed(line: dict, says: str) -> None:
    with pytest.raises(SimError, match=says):
        SceneSpec.from_json(line)


def test_sampled_scenes_fit_and_keep_their_distances() -> None:
    rng = np.random.default_rng(11)
    kinds_of_support = set()
    for i in range(150):
        spec = sample_scene(rng, drawer=(None, True, False)[i % 3])
        assert SAMPLED_SEEDS[0] <= spec.seed < SAMPLED_SEEDS[1]
        assert 3 <= len(spec.cubes) <= 6
        layout = draw_layout(np.random.default_rng(spec.seed), spec)
        low, high = workspace(spec.drawer)
        ground = {}
        for name, below in layout.support.items():
            place = layout.placements[name]
            kinds_of_support.add(below.split()[-1])
            if below == TABLE:
                ground[name] = place.xy
                assert np.all(place.xy >= low - 1e-9)
                assert np.all(place.xy <= high + 1e-9)
            if below == DRAWER:
                assert spec.drawer
        spots = list(ground.values())
        for a in range(len(spots)):
            for b in range(a):
                assert np.hypot(*(spots[a] - spots[b])) >= CLEARANCE_M[frozenset(("cube",))]
    assert kinds_of_support == {"table", "cube", "bowl", "mat", "drawer"}


def test_fullest_scene_without_a_drawer_always_fits() -> None:
    for seed in range(30):
        spec = SceneSpec(seed, CUBE_COLOURS, BOWL_COLOURS, "grey", stacked=False, drawer_open=False)
        assert len(draw_layout(np.random.default_rng([seed, 1]), spec).placements) == 9


def test_too_full_a_scene_is_refused_by_name() -> None:
    spec = SceneSpec(0, CUBE_COLOURS, BOWL_COLOURS, "grey", True, stacked=False, drawer_open=False)
    with pytest.raises(SimError, match="no room for 6 cubes, 3 bowls"):
        draw_layout(np.random.default_rng(0), spec)


def test_stacked_and_drawer_open_are_obeyed() -> None:
    for seed in range(20):
        open_spec = SceneSpec(seed, ("red", "blue", "green"), ("teal",), None, True, drawer_open=True, stacked=True)
        layout = draw_layout(np.random.default_rng(seed), open_spec)
        assert layout.slide_m == DRAWER_OPEN_M
        assert set(layout.support.values()) != {TABLE}


def test_switching_one_randomisation_off_leaves_the_others_as_they_were() -> None:
    everything = draw_looks(np.random.default_rng(3), Randomisation(), drawer=False)
    still = draw_looks(np.random.default_rng(3), Randomisation(camera=False), drawer=False)
    plain = draw_looks(np.random.default_rng(3), Randomisation.none(), drawer=False)
    other = draw_looks(np.random.default_rng(4), Randomisation.none(), drawer=False)
    assert np.allclose(everything.key_diffuse, still.key_diffuse)
    assert everything.table_top == still.table_top
    assert not np.allclose(everything.eye_m, still.eye_m)
    assert np.allclose(plain.eye_m, other.eye_m)
    assert all(np.allclose(plain.colours[name], other.colours[name]) for name in plain.colours)
    assert plain.distractors == (None,) * 4
