"""SQL over the tables of a store: DuckDB's, which reads and can do nothing else.

A query may come from somebody else: it sees the tables and no other file, no network, no variable
of this process. Files of this machine DuckDB reads itself, four times as fast as what pyarrow hands
it; a bucket's rows come through pyarrow, so that no extension of DuckDB's need be loaded.
"""

import json
import re
from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa
import pyarrow.fs as pafs

from velodrome.scheduler.errors import ConfigError, StoreError
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.store import Store

TRIES = 3
MEND = f"The tables are {', '.join(TABLES)}; docs/schema.md tells their columns."
_READING = ("SELECT", "EXPLAIN")
_GLOB = re.compile(r"[*?\[\]{}]")  # would name other files, too
_GONE = re.compile(r"(?i)no such file|does not exist|NO_SUCH_KEY|not found")


def asked(store: Store, query: str) -> pa.Table:
    """The rows of one statement that reads. ConfigError names the line and column in the query."""
    for left in reversed(range(TRIES)):
        with _connection() as connection:
            _require_reading(connection, query)
            for table in TABLES:
                # What the text does not name it cannot ask for, whatever else it holds.
                files = store.files(table) if table in query.lower() else ()
                _offer(connection, table, files, store.filesystem)
            connection.execute("SET enable_external_access=false")
            connection.execute("SET lock_configuration=true")
            try:
                found: pa.Table = connection.sql(query).to_arrow_table()
                return found
            except duckdb.Error as error:
                if left and _is_gone(error):
                    continue  # compacted since it was listed
                raise _told(query, _placed(connection, query, error), store.name) from None
    raise AssertionError("the last try returns or raises")


def _connection() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "python_enable_replacements": "false",
            "temp_directory": "",
            "errors_as_json": "true",
        },
    )


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
    """A view with all columns of today, null where a file has none."""
    if not files:
        connection.register(table, TABLES[table].empty_table())
    elif isinstance(filesystem, pafs.LocalFileSystem) and not any(map(_GLOB.search, files)):
        _offer_files(connection, table, files)
    else:
        import pyarrow.dataset as ds  # brings pandas, which takes its time

        connection.register(table, ds.dataset([*files], TABLES[table], "parquet", filesystem))


def _offer_files(connection: duckdb.DuckDBPyConnection, table: str, files: Sequence[str]) -> None:
    columns = f"columns of {table}"
    connection.register(columns, TABLES[table].empty_table())
    names = ", ".join(map(_quoted, files))
    allowed = connection.execute("SELECT current_setting('allowed_paths')").fetchall()[0][0]
    everything = ", ".join(map(_quoted, [*allowed, *files]))
    connection.execute(f"SET allowed_paths=[{everything}]")
    connection.execute(
        f'CREATE VIEW {table} AS FROM "{columns}" UNION ALL BY NAME '
        f"FROM read_parquet([{names}], union_by_name=true, hive_partitioning=false)"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


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
    return isinstance(error, duckdb.IOException | duckdb.InvalidInputException) and bool(
        _GONE.search(str(error))
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
