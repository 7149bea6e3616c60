"""SQL queries over the tables of a store, by a DuckDB that can only read.

A query may come from somebody else: it sees the tables, but no other file, network or variable of
this process. A check of the statement's kind cannot prevent writes, since wrappers hide it
(`EXPLAIN ANALYZE COPY ...`). So DuckDB has no file system: a path that it may read it may also
write. pyarrow reads the files instead, which takes 1 s for 10^7 samples, against 0.3 s by DuckDB.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from velodrome.scheduler.errors import ConfigError, StoreError
from velodrome.scheduler.results.rate_columns import build_projection
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.schema_conversion import RENAMED_IN, find_new_name, fit_to_schema
from velodrome.scheduler.results.store import Store

if TYPE_CHECKING:
    import pyarrow.dataset as ds

TRIES = 4
MEND = f"The tables are {', '.join(TABLES)}; docs/schema.md lists their columns."
_READING_STATEMENTS = ("SELECT", "EXPLAIN")
_FILE_ERRORS = (
    duckdb.IOException,
    duckdb.InvalidInputException,
    duckdb.InternalException,
    pa.ArrowException,
    UnicodeDecodeError,
)
_MISSING_FILE = ("no such file", "does not exist", "no_such_key", "not found")
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


def run_query(store: Store, query: str) -> pa.Table:
    """Run one reading statement and return its rows. ConfigError names the line and column.

    Damaged files give no rows: see `store.faults`.
    """
    damaged: frozenset[str] = frozenset()
    for left in reversed(range(TRIES)):
        with connect(store, query, damaged) as connection:
            _require_reading(connection, query)
            try:
                found: pa.Table = connection.sql(query).to_arrow_table()
                found.validate(full=True)  # here, not where text that is no UTF-8 is used
                return found
            except (pa.ArrowException, UnicodeDecodeError, duckdb.Error) as error:
                if left and _is_missing_file(error):
                    continue  # compacted since it was listed
                faulty = (
                    frozenset() if _is_query_error(error) else _find_damaged_files(store, query)
                )
                if left and faulty - damaged:
                    damaged |= faulty
                    continue
                raise _convert_error(
                    query, _locate_error(connection, query, error), store.name
                ) from None
    raise AssertionError("the last try returns or raises")


@contextmanager
def connect(
    store: Store, query: str, damaged: Collection[str] = ()
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Connect to a DuckDB that has the tables and can write nothing.

    damaged: paths of files to leave out.
    """
    with duckdb.connect(":memory:", config=_CONFIG) as connection:
        for table in TABLES:
            rows = connection.from_arrow(_rows(store, table, query, damaged))
            columns = build_projection() if table == "tasks" else "*"
            rows.project(columns).create_view(table)
        for setting in _SETTINGS:
            connection.execute(setting)
        yield connection


def _rows(
    store: Store, table: str, query: str, damaged: Collection[str]
) -> "pa.Table | ds.Dataset":
    """Return a table with today's columns; empty if the query does not name it."""
    if table not in query.lower():
        return TABLES[table].empty_table()
    files, read_here = store.countable_files(table)
    if read_here:
        return fit_to_schema(store.read(table), TABLES[table])
    if not (files := tuple(path for path in files if path not in damaged)):
        return TABLES[table].empty_table()
    import pyarrow.dataset as ds  # takes its time

    return ds.dataset([*files], TABLES[table], "parquet", store.filesystem)


def _find_damaged_files(store: Store, query: str) -> frozenset[str]:
    """Read all files of the query's tables; return the paths of damaged ones."""
    faults = [
        fault
        for table in TABLES
        if table in query.lower()
        for fault in store.check_table(table)
        if fault.loses_rows
    ]
    for fault in faults:
        store.report_fault(fault)
    return frozenset(fault.path for fault in faults)


def _locate_error(connection: duckdb.DuckDBPyConnection, query: str, error: Exception) -> Exception:
    """Get the error with its place in the query, which `sql` (it copies no rows) may omit."""
    if isinstance(error, duckdb.Error) and "position" not in _parse_error(str(error)):
        try:
            connection.execute(query)
        except duckdb.Error as again:
            return again
    return error


def _require_reading(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    try:
        statements = connection.extract_statements(query)
    except duckdb.Error as error:
        raise _convert_error(query, error, "") from None
    if len(statements) != 1:
        problem = f"it has {len(statements)} statements"
        raise ConfigError("query", problem, "Give one, such as: SELECT * FROM tasks LIMIT 5")
    kind = statements[0].type.name
    if kind not in _READING_STATEMENTS:
        raise ConfigError(
            "query:1:1", f"{kind} is not a reading statement", "Begin it with SELECT or FROM."
        )


def _is_missing_file(error: Exception) -> bool:
    message = str(error).lower()
    return isinstance(error, _FILE_ERRORS) and any(words in message for words in _MISSING_FILE)


def _is_query_error(error: Exception) -> bool:
    """Return True if the query itself is at fault, whatever the files hold."""
    return isinstance(error, duckdb.Error) and not isinstance(error, _FILE_ERRORS)


def _convert_error(query: str, error: Exception, place: str) -> Exception:
    details = _parse_error(str(error))
    message = " ".join(str(details.get("exception_message", error)).split()).rstrip("?!.")
    problem = _describe_renamed_column(message) or message
    if isinstance(error, duckdb.PermissionException):
        return ConfigError(_place(query, details), "it needs a file or the network", MEND)
    if "position" in details or isinstance(error, duckdb.ProgrammingError | duckdb.DataError):
        return ConfigError(_place(query, details), problem, MEND)
    return StoreError(f"{place}: the query failed: {problem}")


def _parse_error(text: str) -> Mapping[str, object]:
    """Parse DuckDB's JSON error."""
    try:
        details = json.loads(text[text.index("{") :])
    except ValueError:
        return {}
    return details if isinstance(details, dict) else {}


def _describe_renamed_column(message: str) -> str:
    """Name the new name of a missing column; empty if it is not an old name."""
    found = re.search(r'[Cc]olumn (?:named )?"([^"]+)"', message)
    if not (found and (new := find_new_name(found[1]))):
        return ""
    return f"column {found[1]} is called {new} since schema version {RENAMED_IN}"


def _place(query: str, details: Mapping[str, object]) -> str:
    """Convert DuckDB's byte position to line and column."""
    try:
        before = query.encode()[: int(str(details["position"]))].decode(errors="replace")
    except (KeyError, ValueError):
        return "query"
    return f"query:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"
