"""library.py PORT: what programs do with PostgreSQL, through psycopg2. Silent if all is as it should be."""

import decimal
import sys

import psycopg2
import psycopg2.errorcodes as codes

connection = psycopg2.connect(host="127.0.0.1", port=sys.argv[1], user="app", dbname="app")
cursor = connection.cursor()


def ask(sql, *values):
    cursor.execute(sql, values or None)
    return cursor.fetchall() if cursor.description else cursor.rowcount


def fails(code, sql, *values):
    try:
        ask(sql, *values)
    except psycopg2.Error as error:
        assert error.pgcode == code, (sql, error.pgcode, error.pgerror)
        connection.rollback()
        return error.diag
    raise AssertionError(f"no error: {sql}")


assert connection.server_version // 10000 >= 15, connection.server_version
ask("CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')")
ask(
    "CREATE TABLE person (id serial PRIMARY KEY, name text NOT NULL UNIQUE, mood mood,"
    " account numeric(12, 2) DEFAULT 0 CHECK (account >= 0), photo bytea, tags text[], data jsonb)"
)
connection.commit()

names = ["Ada", "Grace", "Zoë", "O'Hara", "back\\slash", "Edsger", "Barbara", "Niklaus"]
cursor.executemany(
    "INSERT INTO person (name, mood, account, photo, tags, data) VALUES (%s, %s, %s, %s, %s, %s)",
    [
        (name, "ok", 100 + at, bytes(range(at * 20)), ["x", name], f'{{"n": {at}}}')
        for at, name in enumerate(names)
    ],
)
connection.commit()
# In an order that all servers agree on, though nobody asked for one.
rows = ask("SELECT id, name, mood, account, photo, tags, data->>'n' FROM person")
assert sorted(rows)[0][:4] == (1, "Ada", "ok", decimal.Decimal("100.00")), rows
assert sorted(row[1] for row in rows) == sorted(names)
assert bytes(sorted(rows)[3][4]) == bytes(range(60)) and sorted(rows)[3][5] == ["x", "O'Hara"]
assert ask("SELECT count(*), sum(account) FROM person") == [(8, decimal.Decimal("828.00"))]
assert ask("SELECT name FROM person ORDER BY name DESC LIMIT 2") == [("back\\slash",), ("Zoë",)]

# Transactions.
assert ask("UPDATE person SET account = account - 50 WHERE name = %s", "Ada") == 1
assert ask("UPDATE person SET account = account + 50 WHERE name = %s", "Grace") == 1
connection.rollback()
assert ask("SELECT account FROM person WHERE name = 'Ada'") == [(100,)]
ask("UPDATE person SET account = 7, mood = 'happy' WHERE name = 'Grace'")
ask("SAVEPOINT here")
ask("DELETE FROM person")
ask("ROLLBACK TO SAVEPOINT here")
connection.commit()
assert ask("SELECT mood, account FROM person WHERE name = 'Grace'") == [("happy", 7)]

# Errors.
diag = fails(codes.UNIQUE_VIOLATION, "INSERT INTO person (name) VALUES ('Ada')")
assert diag.constraint_name == "person_name_key", diag.constraint_name
assert diag.source_file is None and diag.message_detail is None
fails(codes.CHECK_VIOLATION, "UPDATE person SET account = -1")
fails(codes.UNDEFINED_TABLE, "SELECT * FROM nobody")
fails(codes.SYNTAX_ERROR, "SELECT 1 FROM FROM")
fails(codes.FEATURE_NOT_SUPPORTED, "SELEC 1")
fails(codes.DIVISION_BY_ZERO, "SELECT 1 / account::int FROM (VALUES (0)) AS x (account)")
# A refused statement fails as any other: the transaction goes with it.
ask("UPDATE person SET account = 1 WHERE name = 'Ada'")
try:
    ask("SELECT now()")
except psycopg2.errors.FeatureNotSupported:
    pass
try:
    ask("SELECT 1")
except psycopg2.errors.InFailedSqlTransaction:
    pass
else:
    raise AssertionError("the transaction goes on")
connection.rollback()
assert ask("SELECT account FROM person WHERE name = 'Ada'") == [(100,)]
for refused in [
    "SELECT random()",
    "SELECT name FROM person LIMIT 1",
    "SELECT ctid FROM person",
    "SELECT * FROM pg_class",
    "INSERT INTO person (name, data) VALUES ('now', '{}')",
    "SET lock_timeout = 0",
    "NOTIFY x",
]:
    fails(codes.FEATURE_NOT_SUPPORTED, refused)

# Prepared statements.
ask("PREPARE rich (numeric) AS SELECT name FROM person WHERE account > $1 ORDER BY account DESC")
assert ask("EXECUTE rich (105)") == [("Niklaus",), ("Barbara",)]
ask("DEALLOCATE rich")
connection.commit()

# A lock that another session holds is waited for, for a while that is the same everywhere.
other = psycopg2.connect(host="127.0.0.1", port=sys.argv[1], user="app", dbname="app")
ask("UPDATE person SET mood = 'sad' WHERE name = 'Ada'")
try:
    other.cursor().execute("UPDATE person SET mood = 'ok' WHERE name = 'Ada'")
    raise AssertionError("both at once")
except psycopg2.errors.LockNotAvailable:
    other.rollback()
connection.commit()
other.close()

# Two result sets at once, and one that is too long to be sorted.
assert ask("SELECT 1; SELECT 2") == [(2,)]
connection.commit()
fails(codes.PROGRAM_LIMIT_EXCEEDED, "SELECT repeat('x', 1000) FROM generate_series(1, 2000) AS n (i)")
assert len(ask("SELECT i, repeat('x', 1000) FROM generate_series(1, 2000) AS n (i) ORDER BY i")) == 2000
connection.commit()
connection.close()

# Somebody there is not.
try:
    psycopg2.connect(host="127.0.0.1", port=sys.argv[1], user="nobody", dbname="app")
    raise AssertionError("nobody came in")
except psycopg2.OperationalError as error:
    assert 'role "nobody" does not exist' in str(error), error
