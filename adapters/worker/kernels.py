"""The kernels that linear-algebra libraries in this process run, one line of text for each.

Each library answers itself, by functions that it exports: it chooses its kernels when it is loaded,
by the CPU, by variables and by its build. `openblas 0.3.13
SKYLAKEX` is a library, its version, and the CPU type or instruction set whose kernels it runs; a
part that it does not report is omitted. For a library linked statically into a framework see
velodrome.adapters.contract.Adapter.kernels.
"""

import ctypes
import os
import re
from typing import Any, Callable, List, Optional, Tuple

MAPS = "/proc/self/maps"
_VERSION = re.compile(r"\d+(\.\d+)+")
# Builds rename their functions: SciPy's wheels by a prefix, 64-bit integers by a suffix.
_PREFIXES, _SUFFIXES = ("", "scipy_"), ("", "64_", "_64_", "_")

# mkl_service.h: values of MKL_CBWR_AUTO.
MKL_BRANCHES = {
    3: "COMPATIBLE",
    4: "SSE2",
    5: "SSE3",
    6: "SSSE3",
    7: "SSE4_1",
    8: "SSE4_2",
    9: "AVX",
    10: "AVX2",
    11: "AVX512_MIC",
    12: "AVX512",
    13: "AVX512_MIC_E1",
    14: "AVX512_E1",
}
# dnnl_types.h of oneDNN 2 and 3: dnnl_cpu_isa_t, without its bits for hints.
DNNL_ISAS = {
    0x0: "ANY",
    0x1: "SSE41",
    0x3: "AVX",
    0x7: "AVX2",
    0xF: "AVX2_VNNI",
    0x1F: "AVX2_VNNI_2",
    0x27: "AVX512_CORE",
    0x67: "AVX512_CORE_VNNI",
    0xE7: "AVX512_CORE_BF16",
    0x1EF: "AVX512_CORE_FP16",
    0xFEF: "AVX512_CORE_AMX",
    0x1FEF: "AVX512_CORE_AMX_FP16",
}


class _Symbol(ctypes.Structure):
    """Dl_info of dladdr(3)."""

    _fields_ = [
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    ]


class _DnnlVersion(ctypes.Structure):
    _fields_ = [("major", ctypes.c_int), ("minor", ctypes.c_int), ("patch", ctypes.c_int)]


class Library(object):
    """A library loaded in this process. Functions of its dependencies do not count as its own."""

    def __init__(self, path: str) -> None:
        """Raise OSError if the path is not a library in this process."""
        self.path = path
        self._handle = ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)

    def function(self, name: str, result: Any, *arguments: Any) -> Optional[Callable[..., Any]]:
        """Find a function by its name or a renamed form; None if the library lacks it."""
        for prefix in _PREFIXES:
            for suffix in _SUFFIXES:
                found = self._find_own(prefix + name + suffix)
                if found is not None:
                    found.restype, found.argtypes = result, arguments
                    return found
        return None

    def text(self, name: str) -> str:
        """Call a function without arguments that returns text; empty if it is missing."""
        function = self.function(name, ctypes.c_char_p)
        return (function() or b"").decode("ascii", "replace") if function else ""

    def number(self, name: str, result: Any = ctypes.c_int) -> Optional[int]:
        """Call a function without arguments that returns a number; None if it is missing."""
        function = self.function(name, result)
        return function() if function else None

    def stored_number(self, name: str) -> int:
        """Call a function that stores a number and returns a status; 0 if missing or it fails."""
        function = self.function(name, ctypes.c_int, ctypes.POINTER(ctypes.c_int))
        found = ctypes.c_int(0)
        return found.value if function and function(ctypes.byref(found)) == 0 else 0

    def _find_own(self, name: str) -> "Optional[ctypes._NamedFuncPointer]":
        try:
            found = self._handle[name]  # a new object each time, with its own types
        except AttributeError:
            return None
        address = ctypes.cast(found, ctypes.c_void_p)
        symbol = _Symbol()
        if not _process().dladdr(address, ctypes.byref(symbol)):
            return None
        return found if _is_same(os.fsdecode(symbol.file or b""), self.path) else None


def list_loaded_kernels(maps: str = MAPS) -> Tuple[str, ...]:
    """List a line for each library in this process that reports its kernels, sorted.

    Empty on a system without /proc.
    """
    return tuple(
        sorted({line for path in list_mapped_libraries(maps) for line in describe_library(path)})
    )


def list_mapped_libraries(maps: str = MAPS) -> Tuple[str, ...]:
    """List the paths of the shared libraries in this process, each once, by address."""
    try:
        with open(maps, errors="surrogateescape") as file:
            places = [line.split(None, 5)[5].rstrip("\n") for line in file if line.count("/")]
    except (OSError, IndexError):
        return ()
    names = [place for place in places if ".so" in os.path.basename(place)]
    return tuple(sorted(set(names), key=names.index))


def describe_library(path: str) -> List[str]:
    """List the lines of one library; none if it is not for linear algebra."""
    try:
        library = Library(path)
    except OSError:  # its file was replaced, or this loader cannot open it
        return []
    lines = [line for line in (query(library) for query in QUERIES) if line]
    return lines or _recognize(path)


def query_openblas(library: Library) -> str:
    """Return the core type, which names the kernels; openblas_get_corename exists since 0.2.16."""
    core = library.text("openblas_get_corename")
    return _line("openblas", library.text("openblas_get_config"), core.upper()) if core else ""


def query_mkl(library: Library) -> str:
    """Return MKL's line."""
    function = library.function("MKL_Get_Version_String", None, ctypes.c_char_p, ctypes.c_int)
    if not function:
        return ""
    buffer = ctypes.create_string_buffer(200)
    function(buffer, len(buffer))
    branch = library.number("MKL_CBWR_Get_Auto_Branch")
    text = buffer.value.decode("ascii", "replace")
    return _line("mkl", text, MKL_BRANCHES.get(branch, "") if branch else "")


def query_onednn(library: Library) -> str:
    """Return oneDNN's line, or that of its earlier name MKL-DNN."""
    for name in ("dnnl_version", "mkldnn_version"):
        function = library.function(name, ctypes.POINTER(_DnnlVersion))
        if function:
            version = function().contents
            text = "{}.{}.{}".format(version.major, version.minor, version.patch)
            isa = library.number("dnnl_get_effective_cpu_isa")
            return _line("onednn", text, "" if isa is None else DNNL_ISAS.get(isa, hex(isa)))
    return ""


def query_blis(library: Library) -> str:
    """Return BLIS's line."""
    version = library.text("bli_info_get_version_str")
    if not version:
        return ""
    name = library.function("bli_arch_string", ctypes.c_char_p, ctypes.c_int)
    architecture = library.number("bli_arch_query_id")
    value = name(architecture) if name and architecture is not None else b""
    return _line("blis", version, (value or b"").decode("ascii", "replace").upper())


def query_cublas(library: Library) -> str:
    """Return cuBLAS's line.

    cublasLtGetVersion: 10000 major + 100 minor + patch, and 1000 major before CUDA 10.2.
    """
    version = library.number("cublasLtGetVersion", ctypes.c_size_t)
    return _line("cublas", _join_version(version, 10000), "") if version else ""


def query_cudnn(library: Library) -> str:
    """Return cuDNN's line.

    cudnnGetVersion: 10000 major + 100 minor + patch since version 9, 1000 major before.
    """
    version = library.number("cudnnGetVersion", ctypes.c_size_t)
    return (
        _line("cudnn", _join_version(version, 10000 if version >= 90000 else 1000), "")
        if version
        else ""
    )


def query_cuda(library: Library) -> str:
    """Return the line of CUDA's runtime. cudaRuntimeGetVersion: 1000 major + 10 minor."""
    version = library.stored_number("cudaRuntimeGetVersion")
    return (
        _line("cuda", "{}.{}".format(version // 1000, version % 1000 // 10), "") if version else ""
    )


def query_nccl(library: Library) -> str:
    """Return NCCL's line.

    ncclGetVersion: 10000 major + 100 minor + patch since version 2.9, 1000 major before.
    """
    version = library.stored_number("ncclGetVersion")
    if not version:
        return ""
    return _line("nccl", _join_version(version, 10000 if version >= 10000 else 1000), "")


QUERIES: Tuple[Callable[[Library], str], ...] = (
    query_openblas,
    query_mkl,
    query_onednn,
    query_blis,
    query_cublas,
    query_cudnn,
    query_cuda,
    query_nccl,
)


def _recognize(path: str) -> List[str]:
    """Recognize by their file names the libraries that export no version function."""
    name = os.path.basename(path)
    if re.match(r"lib[st]?atlas\b", name) or "/atlas/" in path:
        return ["atlas"]
    # Debian's openblas-pthread/libblas.so.3 forwards to the library beside it.
    if re.match(r"lib(c|ref)?blas\.so", name) and not re.search(r"openblas|mkl|blis", path):
        return ["reference blas"]
    return []


def _line(name: str, version: str, kernel: str) -> str:
    found = _VERSION.search(version)
    return " ".join(part for part in (name, found.group() if found else "", kernel) if part)


def _join_version(version: int, major: int) -> str:
    return "{}.{}.{}".format(version // major, version % major // 100, version % 100)


def _is_same(one: str, other: str) -> bool:
    try:
        return one == other or os.path.samefile(one, other)
    except OSError:
        return False


def _process() -> Any:
    process = ctypes.CDLL(None)
    process.dladdr.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
    process.dladdr.restype = ctypes.c_int
    return process
