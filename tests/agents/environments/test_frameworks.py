"""User frameworks beside Velodrome's own; a broken one is reported, none is hidden."""

import os
from pathlib import Path

import pytest

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.environments.frameworks import available_frameworks, find_framework
from velodrome.agents.environments.recipes import RecipeError


def test_without_user_folders_only_velodromes_frameworks_exist() -> None:
    assert available_frameworks({}) == FRAMEWORKS


def test_a_folder_with_an_adapter_and_a_recipe_is_a_framework(node) -> None:
    recipe = 'variants = ["fast", "slow"]\ndevices = ["cpu", "gpu"]\n' + node.recipe
    folder = node.add_framework("little", recipe, {"one.txt": node.add_tiny()})
    found = available_frameworks(node.environ)["little"]
    assert found.variants == ("fast", "slow")
    assert found.default_variant == "fast"
    assert found.devices == ("cpu", "gpu")
    assert found.about == "a test"
    assert Path(found.folder) == folder
    assert Path(found.path, found.adapter + ".py") == folder / "adapter.py"
    assert set(FRAMEWORKS) < set(available_frameworks(node.environ))


def test_several_folders_are_separated_like_path(node, tmp_path: Path) -> None:
    node.add_framework("first", node.recipe, {"one.txt": node.add_tiny()})
    here, node.adapters = node.adapters, tmp_path / "more"
    node.add_framework("second", node.recipe, {"one.txt": node.add_tiny()})
    node.variables["VELODROME_ADAPTERS"] = os.pathsep.join([str(here), str(node.adapters)])
    assert {"first", "second"} < set(available_frameworks(node.environ))


def test_a_name_of_velodromes_own_framework_is_refused(node) -> None:
    node.add_framework("torch", node.recipe, {"one.txt": node.add_tiny()})
    with pytest.raises(RecipeError, match=r"'torch' is taken by .*Rename the folder"):
        available_frameworks(node.environ)


def test_a_recipe_without_an_adapter_is_reported(tiny_node) -> None:
    adapter = tiny_node.adapters / "little" / "adapter.py"
    adapter.unlink()
    with pytest.raises(RecipeError, match=f"{adapter}: there is no such file"):
        available_frameworks(tiny_node.environ)


def test_an_adapter_without_a_recipe_is_reported(tiny_node) -> None:
    recipe = tiny_node.adapters / "little" / "environment.toml"
    recipe.unlink()
    with pytest.raises(RecipeError, match=f"{recipe}: there is no such file"):
        available_frameworks(tiny_node.environ)


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nowhere: is not a folder. Correct VELODROME_ADAPTERS"):
        available_frameworks({"VELODROME_ADAPTERS": str(tmp_path / "nowhere")})


def test_a_folder_without_frameworks_is_reported(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="contains no framework"):
        available_frameworks({"VELODROME_ADAPTERS": str(tmp_path)})


def test_a_name_with_capitals_or_dots_is_refused(node) -> None:
    node.add_framework("My.Net", node.recipe, {"one.txt": node.add_tiny()})
    with pytest.raises(RecipeError, match=r"'My.Net' is not a valid framework name"):
        available_frameworks(node.environ)


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(RecipeError, match="Did you mean 'tensorflow'"):
        find_framework("tensorfow", {})
