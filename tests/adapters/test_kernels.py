"""Kernels that libraries report: a real OpenBLAS, and stand-ins for other libraries."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import velodrome
from velodrome.adapters.frameworks.torch import built_in
from velodrome.adapters.worker import kernels

SOURCES = Path(__file__).with_name("libraries")
SOURCE = str(Path(velodrome.__path__[0]).parent)


@pytest.fixture
def library(tmp_path):
    """library("MKL", "libmkl_rt.so"): the path of one that was compiled and is loaded."""
    compiler = shutil.which("cc") or shutil.which("gcc") or pytest.skip("needs a C compiler")

    def load_library(macro, name, *linked):
        path = tmp_path / name
        words = [compiler, "-shared", "-fPIC", f"-D{macro}", "-o", path, SOURCES / "others.c"]
        subprocess.run([*words, *linked], check=True)
        ctypes.CDLL(str(path))
        return str(path)

    return load_library


def run_in_numpy(script, **variables):
    """Return the JSON output of a new interpreter with NumPy and only these OpenBLAS variables."""
    script = "import json, numpy; from velodrome.adapters.worker import kernels; " + script
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**clean, "PYTHONPATH": SOURCE, **variables},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("core", ["Nehalem", "Sandybridge", "Haswell"])
def test_numpys_openblas_reports_the_core_type_that_was_set(core):
    if "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("needs an x86 CPU with AVX2")
    (line,) = run_in_numpy(
        "print(json.dumps(kernels.list_loaded_kernels()))", OPENBLAS_CORETYPE=core
    )
    name, version, reported_core = line.split()
    assert (name, reported_core) == ("openblas", core.upper())
    assert version.startswith("0.3.")


def test_a_library_loaded_later_is_listed_the_second_time():
    lines = "list(filter(None, map(kernels.describe_library, kernels.list_mapped_libraries())))"
    first, second = run_in_numpy(
        f"first = {lines}; import scipy.linalg; print(json.dumps([first, {lines}]))"
    )
    assert (len(first), len(second)) == (1, 2)  # SciPy's wheel brings an OpenBLAS of its own
    assert first[0] in second


@pytest.mark.parametrize(
    ("macro", "name", "lines"),
    [
        ("MKL", "libmkl_rt.so.2", ["mkl 2024.0 AVX512"]),
        ("ONEDNN", "libdnnl.so.3", ["onednn 3.7.1 AVX512_CORE_BF16"]),
        ("BLIS", "libblis.so.4", ["blis 0.9.0 ZEN3"]),
        ("CUDA", "libcuda_things.so", ["cublas 12.8.5", "cudnn 9.10.2"]),
        ("OLD_CUDNN", "libcudnn.so.8", ["cudnn 8.9.7"]),
        ("CUDART", "libcudart.so.12", ["cuda 12.8"]),
        ("BROKEN_CUDART", "libcudart.so.11", []),
        ("NCCL", "libnccl.so.2", ["nccl 2.27.5"]),
        ("OLD_NCCL", "libnccl.so.2.7", ["nccl 2.7.8"]),
        ("NONE", "libblas.so.3", ["reference blas"]),
        ("NONE", "libtatlas.so.3", ["atlas"]),
        ("NONE", "libm_of_mine.so", []),
    ],
)
def test_each_library_is_described_in_its_own_way(library, macro, name, lines):
    path = library(macro, name)
    assert path in kernels.list_mapped_libraries()
    assert kernels.describe_library(path) == lines
    assert set(lines) <= set(kernels.list_loaded_kernels())


def test_a_file_that_only_links_to_a_library_is_not_listed(library):
    beneath = library("MKL", "libbeneath.so")
    above = library("NONE", "libabove.so", "-Wl,--no-as-needed", beneath)
    assert kernels.describe_library(beneath) == ["mkl 2024.0 AVX512"]
    assert kernels.describe_library(above) == []


def test_a_file_outside_this_process_is_not_loaded(library, tmp_path):
    other = tmp_path / "libother.so"
    shutil.copy(library("MKL", "libone.so"), other)
    assert kernels.describe_library(str(other)) == []
    assert str(other) not in kernels.list_mapped_libraries()


def test_without_a_list_of_libraries_no_kernels_are_named(tmp_path):
    assert kernels.list_loaded_kernels(str(tmp_path / "none")) == ()
    (tmp_path / "maps").write_text(
        "7f00-7f01 r-xp 00000000 00:1 5   /opt/my libs/libx.so.1\n"
        "7f01-7f02 rw-p 00001000 00:1 5   /opt/my libs/libx.so.1\n"
        "7f02-7f03 r--p 00000000 00:1 6   /usr/lib/locale/locale-archive\n"
        "7f04-7f05 rw-p 00000000 00:0 0\n"
        "7ffd-7ffe r-xp 00000000 00:0 0   [vdso]\n"
    )
    assert kernels.list_mapped_libraries(str(tmp_path / "maps")) == ("/opt/my libs/libx.so.1",)


def test_pytorchs_configuration_names_its_libraries():
    text = (
        "PyTorch built with:\n"
        "  - Intel(R) MKL-DNN v3.12.0 (Git Hash 80afa71049cd69a3df32adcccb623b12cd7baa22)\n"
        "  - CPU capability usage: AVX512\n"
    )
    assert list(built_in.kernels(text, "2.13.0")) == [
        "onednn 3.12.0 via torch 2.13.0",
        "aten AVX512 via torch 2.13.0",
    ]
    assert list(built_in.kernels("PyTorch built with:\n", "1.0")) == []
