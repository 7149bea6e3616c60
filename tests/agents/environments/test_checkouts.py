"""A source folder that the user names, with locked packages below it, becomes an environment."""

import subprocess
from pathlib import Path

import pytest

from velodrome.agents.environments.recipes import RecipeError, read_recipe
from velodrome.agents.environments.store import EnvironmentFailed

RECIPE = """
kind = "existing"
about = "a test"
module = "cart"
python = ["{minor}"]
locks = [{{file = "one.txt", devices = ["cpu"]}}]
[source]
what = "a checkout of cart"
contains = "cart/__init__.py"
prepare = {prepare}
"""
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
# Builds the wheel itself, without setuptools; it writes into its own folder too.
BACKEND = """
import pathlib, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    pathlib.Path("left-by-the-build").write_text("")
    name = "cart-1.0-py3-none-any.whl"
    info = "cart-1.0.dist-info/"
    with zipfile.ZipFile(pathlib.Path(folder, name), "w") as wheel:
        for path in pathlib.Path("cart").iterdir():
            wheel.write(path)
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: cart\\nVersion: 1.0\\n")
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr(info + "RECORD", "")
    return name
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "cart-checkout"
    (folder / "cart").mkdir(parents=True)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "backend.py").write_text(BACKEND)
    (folder / "cart" / "__init__.py").write_text("import tiny\nVERSION = 'first'\n")
    return folder


@pytest.fixture
def cart_node(node):
    add_cart(node)
    return node


def add_cart(node, prepare: str = "[]") -> None:
    minor = node.recipe.split('python = ["')[1].split('"')[0]
    recipe = RECIPE.format(minor=minor, prepare=prepare)
    folder = node.add_framework("cart", recipe, {"one.txt": node.add_tiny()})
    adapter = "import cart\nclass Adapter:\n    version = staticmethod(lambda: cart.VERSION)\n"
    (folder / "adapter.py").write_text(adapter)


def contents(folder: Path) -> dict[str, str]:
    return {str(path): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_without_a_checkout_the_reason_says_how_to_give_one(cart_node) -> None:
    assert cart_node.store.find("cart") is None
    with pytest.raises(EnvironmentFailed) as raised:
        cart_node.store.build("cart")
    assert "export VELODROME_SOURCE_CART=/path/to/cart" in raised.value.reason
    assert "a checkout of cart" in raised.value.reason
    assert "VELODROME_PYTHON_CART" in raised.value.reason


@pytest.mark.parametrize(
    ("name", "problem"), [("nowhere", "is not a folder"), ("wheels", "has no cart/__init__.py")]
)
def test_a_folder_that_is_no_checkout_is_named_with_the_variable(
    cart_node, tmp_path, name: str, problem: str
) -> None:
    other = tmp_path / name
    cart_node.variables["VELODROME_SOURCE_CART"] = str(other)
    with pytest.raises(
        EnvironmentFailed, match=f"VELODROME_SOURCE_CART names {other}, .*{problem}"
    ):
        cart_node.store.build("cart")


@pytest.mark.slow
def test_a_build_works_on_a_copy_and_leaves_the_checkout_unchanged(
    cart_node, checkout: Path
) -> None:
    cart_node.variables["VELODROME_SOURCE_CART"] = str(checkout)
    before = contents(checkout)
    environment = cart_node.store.build("cart")
    assert environment.kind == "source"
    run = subprocess.run(
        [environment.python, "-c", "import cart; print(cart.VERSION, cart.tiny.VERSION)"],
        capture_output=True,
        text=True,
    )
    assert run.stdout.split() == ["first", "1.0"]
    assert contents(checkout) == before
    assert not (environment.folder / ".source").exists()
    assert cart_node.store.find("cart") == cart_node.store.build("cart") == environment


@pytest.mark.slow
def test_an_environment_depends_on_a_checkouts_content_and_not_on_its_place(
    cart_node, checkout: Path
) -> None:
    cart_node.variables["VELODROME_SOURCE_CART"] = str(checkout)
    first, first_hash = cart_node.store.build("cart"), cart_node.store.lock_hash("cart")
    (checkout / ".git").mkdir()
    (checkout / ".git" / "HEAD").write_text("of no account")
    moved = checkout.rename(checkout.parent / "moved")
    cart_node.variables["VELODROME_SOURCE_CART"] = str(moved)
    assert cart_node.store.find("cart") == first
    (moved / "cart" / "__init__.py").write_text("VERSION = 'second'\n")
    assert cart_node.store.find("cart") is None
    assert cart_node.store.lock_hash("cart") != first_hash
    second = cart_node.store.build("cart")
    assert second.hash != first.hash
    assert cart_node.store.prune() == (first.name,)


@pytest.mark.slow
def test_a_broken_checkout_environment_is_detected_rebuilt_and_kept_by_prune(
    cart_node, checkout: Path
) -> None:
    cart_node.variables["VELODROME_SOURCE_CART"] = str(checkout)
    environment = cart_node.store.build("cart")
    del cart_node.variables["VELODROME_SOURCE_CART"]
    assert cart_node.store.prune() == ()
    with pytest.raises(EnvironmentFailed, match="VELODROME_SOURCE_CART"):
        cart_node.store.rebuild(environment)
    cart_node.variables["VELODROME_SOURCE_CART"] = str(checkout)
    module = next(environment.folder.rglob("cart/__init__.py"))
    module.unlink()
    problems = cart_node.store.check(environment).problems
    assert any("cart/__init__.py is missing" in problem for problem in problems)
    assert any("cannot be imported" in problem for problem in problems)
    assert cart_node.store.rebuild(environment) == environment
    assert module.exists()


@pytest.mark.slow
def test_a_preparation_command_runs_in_the_copy(node, checkout: Path) -> None:
    add_cart(node, '["sh", "-c", "echo \\"PLACE = \'{environment}\'\\" >> cart/__init__.py"]')
    node.variables["VELODROME_SOURCE_CART"] = str(checkout)
    environment = node.store.build("cart")
    module = next(environment.folder.rglob("cart/__init__.py")).read_text()
    assert "PLACE = '/" in module
    assert "PLACE" not in (checkout / "cart" / "__init__.py").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        ('["sh", "-c", "echo no compiler >&2; exit 3"]', "no compiler"),
        ('["a-tool-that-is-not-here"]', "Install a-tool-that-is-not-here"),
    ],
)
def test_a_failed_preparation_leaves_nothing(
    node, checkout: Path, prepare: str, reason: str
) -> None:
    add_cart(node, prepare)
    node.variables["VELODROME_SOURCE_CART"] = str(checkout)
    with pytest.raises(EnvironmentFailed) as raised:
        node.store.build("cart")
    assert reason in raised.value.reason
    assert [path.name for path in (node.home / "envs").iterdir()] == [".locks"]


@pytest.mark.parametrize(
    ("text", "place", "mend"),
    [
        ('kind = "uv"\nabout = "x"\n[source]\nwhat = "x"\n', ":source", 'kind = "existing"'),
        ('kind = "existing"\nabout = "x"\n[source]\nwhat = "x"\n', ":locks", "Add"),
        (
            'kind = "existing"\nabout = "x"\n[source]\nwhat = "x"\ncontain = "x"\n',
            ":source.contain",
            "'contains'",
        ),
    ],
)
def test_a_wrong_recipe_is_reported_with_the_remedy(
    tmp_path: Path, text: str, place: str, mend: str
) -> None:
    (tmp_path / "environment.toml").write_text(text)
    with pytest.raises(RecipeError) as raised:
        read_recipe(tmp_path)
    assert place in str(raised.value) and mend in str(raised.value)
