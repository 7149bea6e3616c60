"""Reading environment.toml: an error names the key and the remedy."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from velodrome.adapters.registry import FRAMEWORKS
from velodrome.agents.environments.accelerators import correct_accelerators
from velodrome.agents.environments.recipes import RecipeError, read_recipe

LEAK = re.compile(r"://|--index|--find-links|--extra-index|^#(?! Debian )|(^|\s)/", re.MULTILINE)
PIN = re.compile(r"^[a-z0-9-]+==[^ ]+( ; [^\\]+)? \\$")
DEBIAN_PIN = re.compile(r"^[a-z0-9.+-]+=[^ =]+$")
LOCKS = sorted(
    path for framework in FRAMEWORKS.values() for path in Path(framework.folder, "locks").iterdir()
)
OF_DEBIAN = [path for path in LOCKS if read_recipe(path.parent.parent).kind == "debian"]
OF_PYPI = [path for path in LOCKS if path not in OF_DEBIAN]


def lock_name(path: Path) -> str:
    return f"{path.parent.parent.name}/{path.name}"


@pytest.mark.parametrize("path", LOCKS, ids=lock_name)
def test_a_lock_contains_no_host_and_no_path(path: Path) -> None:
    assert not LEAK.search(path.read_text())


@pytest.mark.parametrize("path", OF_DEBIAN, ids=lock_name)
def test_a_debian_lock_contains_a_version_of_every_package(path: Path) -> None:
    suite, *pins = path.read_text().splitlines()
    assert suite.startswith(f"# Debian {read_recipe(path.parent.parent).suite}, ")
    assert pins and all(DEBIAN_PIN.match(pin) for pin in pins)
    assert {"libc6", "dpkg", "python3"} <= {pin.split("=")[0] for pin in pins}


@pytest.mark.parametrize("path", OF_PYPI, ids=lock_name)
def test_a_lock_contains_exact_versions_each_with_a_hash(path: Path) -> None:
    text = path.read_text()
    pins = [line for line in text.splitlines() if not line.startswith(" ")]
    assert pins and all(PIN.match(pin) for pin in pins)
    assert len(re.findall(r"\\\n    --hash=sha256:[0-9a-f]{64}", text)) >= len(pins)


@pytest.mark.parametrize("name", sorted(FRAMEWORKS))
def test_every_framework_has_a_recipe_for_the_cpu(name: str) -> None:
    recipe = read_recipe(Path(FRAMEWORKS[name].folder))
    assert recipe.locks_for("cpu", "linux-x86_64")
    assert recipe.about == FRAMEWORKS[name].about


@pytest.mark.parametrize("name", sorted(FRAMEWORKS))
def test_every_committed_lock_is_named_by_its_recipe(name: str) -> None:
    folder = Path(FRAMEWORKS[name].folder)
    named = {lock.path for lock in read_recipe(folder).locks}
    assert named == set((folder / "locks").iterdir())


@pytest.mark.parametrize("name", sorted(FRAMEWORKS))
def test_every_lock_names_the_cuda_that_its_packages_are_for(name: str) -> None:
    for lock in read_recipe(Path(FRAMEWORKS[name].folder)).locks:
        assert correct_accelerators(lock.devices, lock.path.read_text()) == lock.devices


def test_torch_prefers_the_build_without_cuda_only_on_a_cpu() -> None:
    recipe = read_recipe(Path(FRAMEWORKS["torch"].folder))
    cpu = [lock.file for lock in recipe.locks_for("cpu", "linux-x86_64")]
    gpu = [lock.file for lock in recipe.locks_for("gpu", "linux-x86_64")]
    assert cpu == ["linux-x86_64-cpu.txt", "linux-x86_64-cuda13.txt"]
    assert gpu == ["linux-x86_64-cuda13.txt", "linux-x86_64-cuda12.txt"]


def test_jax_reserves_no_memory_of_a_gpu_and_keeps_its_environments() -> None:
    recipe = read_recipe(Path(FRAMEWORKS["jax"].folder))
    assert recipe.variables["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    without = replace(recipe, variables={})
    for device in ("cpu", "gpu"):
        assert recipe.lock_hash(device) == without.lock_hash(device)


def test_a_lock_for_another_platform_is_not_offered() -> None:
    recipe = read_recipe(Path(FRAMEWORKS["torch"].folder))
    assert recipe.locks_for("cpu", "darwin-arm64") == ()


def write_recipe(node, text: str) -> Path:
    return node.add_framework("little", text, {"one.txt": node.add_tiny()})


@pytest.mark.parametrize(
    ("change", "where", "mend"),
    [
        (("about =", "abuot ="), "environment.toml:abuot", "Did you mean 'about'?"),
        (('"uv"', '"conda"'), "environment.toml:kind", "'uv', 'debian' or 'existing'"),
        (("devices =", "device ="), "environment.toml:locks.0.device", "Did you mean 'devices'?"),
        (('["cpu"]', '["tpu"]'), "environment.toml:locks.0.devices", "Give cpu, gpu or cuda13"),
        (
            ('"one.txt"', '"two.txt"'),
            "environment.toml:locks.0.file",
            "velodrome envs lock",
        ),
        (('kind = "uv"', ""), "environment.toml:kind", "Add kind"),
        (('kind = "uv"', "kind ="), "environment.toml", "Correct it there"),
        (("python =", "#"), "environment.toml:locks.0.python", 'Add python = ["3.12"]'),
        (
            ('python = ["3', 'python = ["4'),
            "environment.toml:locks.0.python.0",
            "Give a minor version",
        ),
    ],
)
def test_a_broken_recipe_is_reported_with_the_key_and_the_remedy(
    node, change, where: str, mend: str
) -> None:
    assert change[0] in node.recipe
    folder = write_recipe(node, node.recipe.replace(*change))
    with pytest.raises(RecipeError) as raised:
        read_recipe(folder)
    assert str(folder) in str(raised.value)
    assert where in str(raised.value)
    assert mend in str(raised.value)


def test_a_recipe_of_kind_existing_needs_an_interpreter(node) -> None:
    folder = write_recipe(node, 'kind = "existing"\nabout = "mine"\n')
    with pytest.raises(RecipeError, match="path of one interpreter"):
        read_recipe(folder)


def test_the_imported_module_is_the_folders_name_unless_the_recipe_names_it(node) -> None:
    assert read_recipe(write_recipe(node, node.recipe)).module == "tiny"
    plain = node.recipe.replace('module = "tiny"', "")
    assert read_recipe(write_recipe(node, plain)).module == "little"


def test_the_hash_of_a_recipe_changes_with_a_lock_and_with_the_pythons(node) -> None:
    first = read_recipe(write_recipe(node, node.recipe)).lock_hash("cpu")
    assert read_recipe(write_recipe(node, node.recipe)).lock_hash("cpu") == first
    older = node.recipe.replace('python = ["3', 'python = ["3.9", "3')
    assert read_recipe(write_recipe(node, older)).lock_hash("cpu") != first
    folder = node.add_framework("little", node.recipe, {"one.txt": node.add_tiny("1.1")})
    assert read_recipe(folder).lock_hash("cpu") != first
