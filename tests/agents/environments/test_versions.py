"""A framework at a version that no committed lock names: locked once, carried as text, rebuilt."""

from dataclasses import replace
from pathlib import Path

import pytest

from velodrome.agents.environments.frameworks import find_framework, with_version
from velodrome.agents.environments.recipes import Lock, Recipe
from velodrome.agents.environments.store import EnvironmentFailed
from velodrome.agents.environments.versions import VersionLocks, at_version, loosen, split


@pytest.fixture
def versioned_node(node):
    """`little` is committed at 1.0, and 2.0 is to be had too."""
    added = 'file = "one.txt", requirements = ["tiny==1.0"]'
    recipe = node.recipe.replace('file = "one.txt"', added)
    node.add_framework("little", recipe, {"one.txt": node.add_tiny()})
    node.add_tiny("2.0")
    return node


def lock(*requirements: str) -> Lock:
    return Lock(file="one.txt", devices=("cpu",), python=("3.12",), requirements=requirements)


@pytest.mark.parametrize(
    ("requirements", "version", "expected"),
    [
        (["torch==2.13.0+cpu", "numpy==2.4.6"], "2.12.1", ["torch==2.12.1+cpu", "numpy==2.4.6"]),
        (["torch==2.13.0+cpu"], "2.12.1+cu126", ["torch==2.12.1+cu126"]),
        (["jax==0.12.0", "jaxlib==0.12.0"], "0.11.1", ["jax==0.11.1", "jaxlib==0.11.1"]),
        (["jax[cuda13]==0.12.0"], "0.11.1", ["jax[cuda13]==0.11.1"]),
    ],
)
def test_a_requested_version_replaces_the_frameworks_own(requirements, version, expected) -> None:
    assert list(at_version(lock(*requirements), version)) == expected


def test_pins_chosen_for_another_version_can_be_loosened() -> None:
    pinned = at_version(lock("torch==2.13.0+cpu", "numpy==2.4.6", "scipy"), "2.12.1")
    assert loosen(pinned, "2.12.1") == ("torch==2.12.1+cpu", "numpy", "scipy")


@pytest.mark.parametrize(
    ("pins", "cuda"),
    [
        ("torch==2.7.1\nnvidia-cublas-cu12==12.6.4.1\nnvidia-nccl-cu12==2.26.2\n", "cuda12"),
        ("torch==2.13.0\nnvidia-cuda-runtime==13.0.96\nnvidia-cudnn-cu13==9.20.0.48\n", "cuda13"),
        ("torch==2.13.0\nnumpy==2.4.6\n", "cuda14"),
    ],
)
def test_a_version_serves_the_cuda_that_it_is_built_for(tmp_path: Path, pins, cuda) -> None:
    """PyTorch 2.7 is for CUDA 12, whatever the lock of the committed version is for."""
    locks = VersionLocks(tmp_path)
    locks.keep("torch==2.7.1", "0123", (("one.txt", pins),))
    both = replace(lock("torch==2.13.0"), devices=("cuda14", "cpu"))
    recipe = Recipe(kind="uv", about="", module="torch", locks=(both,))
    (found,) = locks.apply_to(recipe, "torch==2.7.1", "0123").locks
    assert found.devices == (cuda, "cpu")


def test_the_version_is_part_of_the_name(versioned_node) -> None:
    environ = versioned_node.environ
    assert split("little==2.0") == ("little", "2.0") and split("little") == ("little", "")
    little = find_framework("little==2.0", environ)
    assert little.name == "little"
    assert with_version({"little": little}, "little==2.0")["little==2.0"].folder == little.folder
    assert set(with_version({"little": little}, "litle==2.0")) == {"little"}
    assert set(with_version({"little": little}, "little==/etc")) == {"little"}


def test_locks_are_stored_whole_by_content(tmp_path: Path) -> None:
    here, there = VersionLocks(tmp_path / "here"), VersionLocks(tmp_path / "there")
    assert here.chosen_hash("little==2.0", "cpu") == ""
    here.keep("little==2.0", "0123", (("one.txt", "tiny==2.0\n"),))
    here.keep("little==2.0", "0123", (("one.txt", "something else"),))
    here.choose("little==2.0", "cpu", "0123")
    here.copy_to(there, "little==2.0", "cpu")
    assert there.chosen_hash("little==2.0", "cpu") == "0123"
    assert there.texts("little==2.0", "0123") == (("one.txt", "tiny==2.0\n"),)
    assert {path.name for path in (tmp_path / "there" / "little==2.0").iterdir()} == {"cpu", "0123"}


@pytest.mark.slow
def test_a_version_is_locked_at_its_first_build_beside_the_committed_one(
    versioned_node,
) -> None:
    store = versioned_node.store
    assert store.find("little==2.0") is None
    lock_hash = store.lock_hash("little==2.0")
    assert lock_hash == store.lock_hash("little==2.0") != store.lock_hash("little")
    ((name, text),) = store.versions.texts("little==2.0", lock_hash)
    assert name == "one.txt" and text.startswith("tiny==2.0") and "--hash=sha256:" in text
    committed, requested = store.build("little"), store.build("little==2.0")
    assert committed.hash != requested.hash
    assert (requested.framework, requested.version) == ("little", "2.0")
    assert "'2.0'" in next(requested.folder.rglob("tiny/__init__.py")).read_text()
    assert "'1.0'" in next(committed.folder.rglob("tiny/__init__.py")).read_text()
    assert store.find("little==2.0") == requested


@pytest.mark.slow
def test_another_node_builds_from_the_lock_text_it_receives(versioned_node, tmp_path: Path) -> None:
    driver = versioned_node.store
    lock_hash = driver.lock_hash("little==2.0")
    texts = driver.versions.texts("little==2.0", lock_hash)
    built = driver.build("little==2.0", lock_hash=lock_hash)
    versioned_node.home = tmp_path / "other"
    node = versioned_node.store
    with pytest.raises(EnvironmentFailed, match="the driver has sent none"):
        node.build("little==2.0", lock_hash=lock_hash)
    node.take_lock("little==2.0", lock_hash, texts)
    there = node.build("little==2.0", lock_hash=lock_hash)
    assert there.hash == built.hash
    assert node.versions.chosen_hash("little==2.0", "cpu") == ""


@pytest.mark.slow
def test_a_broken_version_is_rebuilt_from_its_own_lock(versioned_node) -> None:
    store = versioned_node.store
    environment = store.build("little==2.0")
    module = next(environment.folder.rglob("tiny/__init__.py"))
    module.write_text("VERSION = '1.0'\n")
    assert not store.check(environment).ok
    assert store.rebuild(environment) == environment
    assert module.read_text() == "VERSION = '2.0'\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("framework", "reason"),
    [
        ("little==3.0", "tiny==3.0 was not found"),
        ("little==3/0", "not a version"),
        ("neon==2.5", "kind existing"),
    ],
)
def test_an_unavailable_version_is_reported_with_the_remedy(
    versioned_node, framework: str, reason: str
) -> None:
    with pytest.raises(EnvironmentFailed, match=reason):
        versioned_node.store.lock_hash(framework)
