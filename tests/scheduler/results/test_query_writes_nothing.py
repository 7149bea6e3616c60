"""No query, however wrapped, changes a byte of the results or creates a file."""

import contextlib
import re
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

import duckdb
import pytest
from made_measurements import SAMPLES, make_measurement

from velodrome.scheduler.errors import VelodromeError
from velodrome.scheduler.results.schema import TABLES
from velodrome.scheduler.results.sql import connect, run_query
from velodrome.scheduler.results.store import Store

SWEEP = "20261124-063012-a1b2"
FILE = "{root}/tasks/sweep=20261124-063012-a1b2/sweep.parquet"
WRITING = (
    # Over a file of the results, beside it, over a file of the user's, into the working directory.
    f"COPY (SELECT 1 AS x) TO '{FILE}'",
    f"COPY tasks TO '{FILE}' (FORMAT parquet)",
    f"COPY (SELECT 1 AS x) TO '{FILE}' (FORMAT parquet, OVERWRITE_OR_IGNORE)",
    f"COPY (SELECT 1 AS x) TO '{FILE}' (FORMAT parquet, USE_TMP_FILE false)",
    "COPY (SELECT 1 AS x) TO '{root}/tasks' (FORMAT parquet, PARTITION_BY x, OVERWRITE)",
    "COPY (SELECT 1 AS x) TO '{root}/tasks/sweep=20261124-063012-a1b2/more.parquet'",
    "COPY (SELECT 1 AS x) TO '{root}/tasks' (FORMAT parquet, PER_THREAD_OUTPUT, APPEND)",
    "COPY (FROM samples) TO '{own}' (FORMAT csv)",
    "COPY (SELECT 1 AS x) TO 'file:{own}'",
    "COPY (SELECT 1 AS x) TO 'out.json' (FORMAT json)",
    "COPY (SELECT 1 AS x) TO ':memory:'",
    "COPY (SELECT 1 AS x) TO ':memory:.wal'",
    "COPY (SELECT 1 AS x) TO '/dev/stdout'",
    "COPY tasks FROM '{own}'",
    "COPY FROM DATABASE memory TO memory",
    "EXPORT DATABASE '{root}/exported'",
    "IMPORT DATABASE '{root}'",
    "ATTACH '{root}/other.duckdb'",
    f"ATTACH '{FILE}' AS other",
    "ATTACH 'other.duckdb' AS other (READ_WRITE)",
    "USE '{root}/other.duckdb'",
    # What could be loaded to write, or to send.
    "INSTALL httpfs",
    "FORCE INSTALL httpfs FROM 'http://127.0.0.1:9/'",
    "LOAD httpfs",
    "LOAD '{own}'",
    "CREATE SECRET s (TYPE s3, KEY_ID 'k', SECRET 's')",
    "CREATE PERSISTENT SECRET s IN local_file (TYPE s3, KEY_ID 'k', SECRET 's')",
    "COPY (SELECT 1) TO 's3://velodrome-nowhere/x.parquet'",
    "COPY (SELECT 1) TO 'http://127.0.0.1:9/x.parquet'",
    # Doors that a setting would open.
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
    "SET disabled_filesystems = ''",
    "RESET disabled_filesystems",
    "SET lock_configuration = false",
    "SET GLOBAL temp_directory = '{root}'",
    "SET log_query_path = '{own}'",
    "SET profiling_output = '{own}'",
    "SET secret_directory = '{root}'",
    "SET extension_directory = '{root}'",
    "PRAGMA enable_profiling = 'json'",
    "PRAGMA profile_output = '{own}'",
    "CALL enable_logging(storage = 'file', storage_path = '{root}/log')",
    "SELECT * FROM enable_logging(storage = 'file', storage_path = '{root}/log')",
    "CALL enable_profiling(save_location = '{own}')",
    "CHECKPOINT",
    "CALL force_checkpoint()",
    "VACUUM ANALYZE",
    # Rows of the tables, in the tables.
    "DELETE FROM tasks",
    "UPDATE tasks SET status = 'ok'",
    "INSERT INTO tasks (task_id) VALUES ('mine')",
    "TRUNCATE tasks",
    "DROP VIEW tasks",
    "CREATE OR REPLACE VIEW tasks AS SELECT 1",
    "CREATE TABLE mine AS FROM tasks",
    # Files that are not the tables'.
    "SELECT * FROM read_text('{own}')",
    f"SELECT * FROM read_parquet('{FILE}')",
    "SELECT * FROM read_csv('{own}')",
    "SELECT * FROM sniff_csv('{own}')",
    "SELECT * FROM glob('{root}/*')",
    f"SELECT * FROM '{FILE}'",
    "SELECT * FROM parquet_metadata('{root}/tasks/*/*.parquet')",
)
READING_OTHERS = tuple(text for text in WRITING if "SELECT * FROM " in text)
WRAPPED = (
    "{0}",
    "{0};",
    "{0}; SELECT 1",
    "SELECT 1; {0}",
    "FROM tasks; {0}; FROM tasks",
    "-- tasks\n{0}",
    "/* SELECT */ {0} /* FROM tasks */",
    "EXPLAIN {0}",
    "EXPLAIN ANALYZE {0}",
    "explain\nanalyze\n{0}",
    "EXPLAIN /* */ ANALYZE -- x\n {0}",
    "EXPLAIN (ANALYZE, FORMAT json) {0}",
    "EXPLAIN ANALYZE EXPLAIN ANALYZE {0}",
    "PREPARE p AS {0}",
    "PREPARE p AS {0}; EXECUTE p",
    "EXECUTE IMMEDIATE '{1}'",
    "WITH w AS ({0}) FROM w",
    "WITH w AS MATERIALIZED ({0}) SELECT * FROM w, tasks",
    "SELECT * FROM ({0})",
    "SELECT ({0})",
    "SELECT * FROM query('{1}')",
    "SELECT * FROM query_table('{1}')",
    "EXPLAIN ANALYZE SELECT * FROM query('{1}')",
    "FROM json_execute_serialized_sql(json_serialize_sql('{1}'))",
    "PRAGMA json_execute_serialized_sql('{1}')",
    "CREATE MACRO m() AS TABLE {0}",
    "CREATE MACRO m() AS TABLE {0}; FROM m()",
    "CREATE VIEW v AS {0}; FROM v",
    "CREATE TABLE t AS {0}",
    "BEGIN; {0}; COMMIT",
    "COPY ({0}) TO '{2}'",
    "EXPLAIN ANALYZE COPY ({0}) TO '{2}'",
)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Path]]:
    """A sweep that is compacted, one under way; the working directory is beside them."""
    home = tmp_path_factory.mktemp("home")
    store = Store(home / "results")
    made = make_measurement(samples=SAMPLES)
    store.put(SWEEP, made)
    store.compact(SWEEP)
    store.put("20261125-063012-a1b2", made)
    (home / "own.csv").write_text("a,b\n1,2\n")
    with contextlib.chdir(home):
        yield store, home


def there(home: Path) -> Mapping[str, str]:
    """Every path with what it holds; what DuckDB keeps in the user's home, too."""
    theirs = sorted((Path.home() / ".duckdb").rglob("*"))
    return {
        str(path): sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in (*sorted(home.rglob("*")), *theirs)
    }


def wrapped(statement: str, wrapping: str, home: Path) -> str:
    query = statement.format(root=home / "results", own=home / "own.csv")
    return wrapping.format(query, query.replace("'", "''"), home / "results" / "copied.parquet")


def unlocked(statement: str) -> str:
    """The statement's first words, as the name of a test."""
    return re.sub(r"\W+", "-", statement.replace(FILE, "FILE"))[:60]


@pytest.mark.slow
def test_no_query_changes_a_file(filled: tuple[Store, Path]) -> None:
    """The command's own way; each of its queries has a DuckDB of its own, which takes time."""
    store, home = filled
    before = there(home)
    for statement in (WRITING[0], WRITING[10]):
        for wrapping in WRAPPED:
            with contextlib.suppress(VelodromeError):
                run_query(store, wrapped(statement, wrapping, home))
    assert there(home) == before


@pytest.mark.slow
@pytest.mark.parametrize("wrapping", WRAPPED, ids=unlocked)
def test_no_statement_changes_a_file_even_if_none_is_refused(
    filled: tuple[Store, Path], wrapping: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """All in one connection, so that what one statement opens the next could use."""
    store, home = filled
    before = there(home)
    with connect(store, " ".join(TABLES)) as connection:
        for statement in WRITING:
            with contextlib.suppress(duckdb.Error):
                connection.execute(wrapped(statement, wrapping, home)).fetchall()
    assert there(home) == before
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("statement", READING_OTHERS, ids=unlocked)
def test_only_the_tables_are_read(filled: tuple[Store, Path], statement: str) -> None:
    store, home = filled
    with pytest.raises(VelodromeError):
        run_query(store, wrapped(statement, "{0}", home))


def test_the_corpus_writes_if_duckdb_is_unrestricted(tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE tasks AS SELECT 1 AS x")
        connection.execute(f"EXPLAIN ANALYZE COPY tasks TO '{own}'")
    assert own.read_text() == "x\n1\n"


def test_reading_queries_are_answered_as_before(filled: tuple[Store, Path]) -> None:
    store, _ = filled
    for text in (
        "EXPLAIN FROM tasks",
        "EXPLAIN ANALYZE SELECT count(*) FROM tasks",
        "WITH few AS (FROM samples LIMIT 3) SELECT count(*) FROM few",
        "SELECT * FROM query('FROM tasks')",
        "SELECT json_extract('{\"a\": 1}', 'a')",
        "DESCRIBE tasks",
        "SUMMARIZE SELECT status FROM tasks",
        "SHOW TABLES",
    ):
        assert run_query(store, text).num_rows, text
