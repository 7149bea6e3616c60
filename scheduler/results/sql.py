"""SQL over the tables of a store: DuckDB's, which reads and can do nothing else.

A query may come from somebody else: it sees the tables and no other file, no network, no variable
of this process. What keeps it from writing is not what kind of statement it is, which a wrapping
hides (`EXPLAIN ANALYZE COPY ...`), but that DuckDB has no file system: pyarrow reads the files and
hands it rows. A path that DuckDB may read it may write, too, so there is none. That takes a second
for 10^7 samples, where DuckDB's own reader takes a third of it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import duckdb
import pyarrow as pa
import pyarrow.fs as pafs

from velodrome.scheduler.errors import ConfigError, StoreError
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.store import Store

TRIES = 3
MEND = f"The tables are {', '.join(TABLES)}; docs/schema.md tells their columns."
_READING = ("SELECT", "EXPLAIN")
_GONE = ("no such file", "does not exist", "no_such_key", "not found")
_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "allow_persistent_secrets": "false",
    "allow_community_extensions": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
    "errors_as_json": "true",
}
# Settable only after the start. The lock comes last: no statement can take back what is set here.
_SETTINGS = (
    "SET disabled_filesystems='LocalFileSystem'",  # some paths are open without external access
    "SET TimeZone='UTC'",
    "SET lock_configuration=true",
)


def asked(store: Store, query: str) -> pa.Table:
    """The rows of one statement that reads. ConfigError names the line and column in the query."""
    for left in reversed(range(TRIES)):
        with opened(store, query) as connection:
            _require_reading(connection, query)
            try:
                found: pa.Table = connection.sql(query).to_arrow_table()
                return found
            except duckdb.Error as error:
                if left and _is_gone(error):
                    continue  # compacted since it was listed
                raise _told(query, _placed(connection, query, error), store.name) from None
    raise AssertionError("the last try returns or raises")


@contextmanager
def opened(store: Store, query: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB with the tables, which can write nothing whatever it is told.

    What the text of the query does not name it cannot ask for: such a table is empty.
    """
    with duckdb.connect(":memory:", config=_CONFIG) as connection:
        for table in TABLES:
            files = store.files(table) if table in query.lower() else ()
            _offer(connection, table, files, store.filesystem)
        for setting in _SETTINGS:
            connection.execute(setting)
        yield connection


def _placed(connection: duckdb.DuckDBPyConnection, query: str, error: duckdb.Error) -> duckdb.Error:
    """The same, with its place in the query: `sql`, which copies no rows, does not always tell."""
    if "position" not in _said(str(error)):
        try:
            connection.execute(query)
        except duckdb.Error as again:
            return again
    return error


def _offer(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    files: Sequence[str],
    filesystem: pafs.FileSystem,
) -> None:
    """With all columns of today, null where a file has none."""
    if not files:
        connection.register(table, TABLES[table].empty_table())
        return
    import pyarrow.dataset as ds  # takes its time

    connection.register(table, ds.dataset([*files], TABLES[table], "parquet", filesystem))


def _require_reading(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    try:
        statements = connection.extract_statements(query)
    except duckdb.Error as error:
        raise _told(query, error, "") from None
    if len(statements) != 1:
        problem = f"it holds {len(statements)} statements"
        raise ConfigError("query", problem, "Give one, such as: SELECT * FROM tasks LIMIT 5")
    kind = statements[0].type.name
    if kind not in _READING:
        raise ConfigError("query:1:1", f"{kind} does not read", "Begin it with SELECT or FROM.")


def _is_gone(error: duckdb.Error) -> bool:
    said = str(error).lower()
    return isinstance(error, duckdb.IOException | duckdb.InvalidInputException) and any(
        words in said for words in _GONE
    )


def _told(query: str, error: duckdb.Error, place: str) -> Exception:
    said = _said(str(error))
    problem = " ".join(str(said.get("exception_message", error)).split()).rstrip("?!.")
    if isinstance(error, duckdb.PermissionException):
        return ConfigError(_place(query, said), "it reaches for a file or the network", MEND)
    if "position" in said or isinstance(error, duckdb.ProgrammingError | duckdb.DataError):
        return ConfigError(_place(query, said), problem, MEND)
    return StoreError(f"{place}: the query failed: {problem}")


def _said(text: str) -> Mapping[str, object]:
    """DuckDB's own words, taken apart."""
    try:
        said = json.loads(text[text.index("{") :])
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _place(query: str, said: Mapping[str, object]) -> str:
    """position: in bytes."""
    try:
        before = query.encode()[: int(str(said["position"]))].decode(errors="replace")
    except (KeyError, ValueError):
        return "query"
    return f"query:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
