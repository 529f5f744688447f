//! Which statements replicas execute. What each of them would answer, or do, otherwise is refused before one sees it.

use super::lexer::{Lexer, Token};
use super::reading::Reading;

/// Statements in one request, at most.
pub(super) const STATEMENTS_MAX: usize = 64;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It cannot be read, or be read in two ways.
    Unclear,
    TooMany,
    Command,
    Object,
    Name,
    Function,
    Present,
    Limit,
    Aggregate,
    Window,
    Insertion,
    Sequence,
    Parameter,
    Portal,
    Unprepared,
    TooManyPrepared,
    OwnType,
}

impl Refusal {
    /// What is said to the client.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Unclear => "refused here: unclear text, or an unclear or too long name",
            Self::TooMany => "refused here: too many statements, messages or parentheses",
            Self::Command => "refused here: this command",
            Self::Object => "refused here: this kind of object",
            Self::Name => "refused here: a name whose meaning differs between servers",
            Self::Function => "refused here: a function that is not known to be deterministic",
            Self::Present => "refused here: the present time; send it as a value",
            Self::Limit => "refused here: LIMIT, OFFSET, FETCH or DISTINCT ON without ORDER BY",
            Self::Aggregate => {
                "refused here: an aggregate that needs ORDER BY between its parentheses"
            }
            Self::Window => "refused here: a window function that needs ORDER BY behind OVER",
            Self::Insertion => "refused here: INSERT of a SELECT without ORDER BY",
            Self::Sequence => "refused here: a sequence in a statement about several rows",
            Self::Parameter => "refused here: this parameter",
            Self::Portal => "refused here: cursors, named portals and limits of rows",
            Self::Unprepared => {
                "refused here: an unnamed statement or portal of an earlier request"
            }
            Self::TooManyPrepared => "refused here: too many prepared statements",
            Self::OwnType => "refused here: a parameter's type that is not built in",
        }
    }
}

/// What is known of a statement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Statement {
    /// The rows of its result have an order.
    pub(super) ordered: bool,
    /// It reads only.
    pub(super) reads: bool,
    /// What it does to the session.
    pub(super) effect: Effect,
}

/// What a statement does to the session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Effect {
    #[default]
    None,
    /// A transaction begins.
    Begin,
    /// A transaction ends, whatever happens.
    Finish,
    /// A parameter changes.
    Set,
    /// A statement of this name is prepared.
    Prepare(u64),
    /// The statement of this name is executed.
    Execute(u64),
    /// The statement of this name is forgotten, or every one.
    Deallocate(Option<u64>),
}

/// Where a name stands for a prepared statement. Names that collide share only whether their rows are sorted.
pub(super) fn hash(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Reads the statements of one request, byte by byte.
pub(super) struct Checker {
    lexer: Lexer,
    text: Text,
}

struct Text {
    reading: Reading,
    statements: [Statement; STATEMENTS_MAX],
    count: usize,
    refusal: Option<Refusal>,
}

impl Text {
    fn token(&mut self, token: Token<'_>) {
        if self.refusal.is_some() {
            return;
        }
        let ends = token == Token::Symbol(b';');
        let result = if ends { self.end() } else { self.reading.token(token) };
        self.refusal = result.err();
    }

    fn end(&mut self) -> Result<(), Refusal> {
        if self.reading.is_empty() {
            return Ok(());
        }
        let room = self.statements.get_mut(self.count).ok_or(Refusal::TooMany)?;
        *room = self.reading.finish()?;
        self.count += 1;
        self.reading.reset();
        Ok(())
    }
}

impl Checker {
    pub(super) fn new() -> Self {
        let text = Text {
            reading: Reading::new(),
            statements: [Statement::default(); STATEMENTS_MAX],
            count: 0,
            refusal: None,
        };
        Self { lexer: Lexer::new(), text }
    }

    /// At the start of a text.
    pub(super) fn reset(&mut self) {
        self.lexer.reset();
        self.text.reading.reset();
        (self.text.count, self.text.refusal) = (0, None);
    }

    /// More of the text, without the NUL that ends it.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let Self { lexer, text } = self;
        for byte in bytes {
            lexer.push(*byte, &mut |token| text.token(token));
        }
    }

    /// The text ends: its statements, without the empty ones.
    pub(super) fn finish(&mut self) -> Result<&[Statement], Refusal> {
        let Self { lexer, text } = self;
        lexer.finish(&mut |token| text.token(token));
        text.token(Token::Symbol(b';'));
        match text.refusal {
            Some(refusal) => Err(refusal),
            None => Ok(&text.statements[..text.count]),
        }
    }

    /// All of a text at once.
    pub(super) fn check(&mut self, sql: &[u8]) -> Result<&[Statement], Refusal> {
        self.reset();
        self.push(sql);
        self.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(sql: &str) -> Result<Statement, Refusal> {
        let mut checker = Checker::new();
        let statements = checker.check(sql.as_bytes())?;
        assert_eq!(statements.len(), 1, "{sql}");
        Ok(statements[0])
    }

    #[test]
    fn reads_and_orders() {
        for (sql, reads, ordered) in [
            ("SELECT 1", true, false),
            ("select a, count(*) from t where b in (1,2) group by a order by 2 desc", true, true),
            ("SELECT * FROM (SELECT a FROM t ORDER BY a LIMIT 5) s", true, false),
            ("WITH x (a) AS (SELECT 1), y (b) AS (VALUES (2)) SELECT * FROM x, y", true, false),
            ("WITH x AS (DELETE FROM t RETURNING a) SELECT * FROM x ORDER BY a", false, true),
            ("VALUES (1), (2)", true, false),
            ("TABLE t", true, false),
            ("SHOW search_path", true, false),
            ("SELECT a FROM t ORDER BY a FOR UPDATE", false, true),
            ("SELECT nextval('s')", false, false),
            ("INSERT INTO public.t (a, b) VALUES (1, lower('X')) RETURNING id", false, true),
            ("INSERT INTO t SELECT a FROM u ORDER BY a RETURNING a", false, true),
            ("INSERT INTO t VALUES (1) ON CONFLICT (a) DO UPDATE SET b = 1", false, true),
            ("UPDATE t SET a = a + 1 WHERE b = ANY (ARRAY[1,2]) RETURNING a", false, false),
            ("SELECT string_agg(a, ',' ORDER BY a), rank() OVER (ORDER BY a) FROM t", true, false),
            ("SELECT table_name FROM information_schema.tables", true, false),
            ("SELECT CAST(a AS numeric(10, 2)), b::varchar(3) FROM t AS x(a, b)", true, false),
            ("SELECT 'it is now or never, whoever says so' -- now()", true, false),
        ] {
            let said = one(sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"));
            assert_eq!((said.reads, said.ordered), (reads, ordered), "{sql}");
        }
    }

    #[test]
    fn what_changes_the_schema() {
        for sql in [
            "CREATE TABLE IF NOT EXISTS s.t (id serial PRIMARY KEY, a varchar(9) NOT NULL DEFAULT '', \
             b numeric(10,2) CHECK (b > 0), c int REFERENCES u (id), UNIQUE (a), FOREIGN KEY (c) REFERENCES u (id))",
            "CREATE UNIQUE INDEX i ON t USING btree (lower(a), b)",
            "CREATE INDEX ON t (a)",
            "CREATE OR REPLACE VIEW v (a, b) AS SELECT a, b FROM t",
            "CREATE TYPE mood AS ENUM ('sad', 'ok')",
            "CREATE TEMP TABLE x AS SELECT 1 AS a",
            "ALTER TABLE t ADD COLUMN d timestamp(3) with time zone",
            "DROP TABLE IF EXISTS t CASCADE",
            "TRUNCATE t RESTART IDENTITY",
            "GRANT SELECT ON t TO somebody",
            "VACUUM t",
        ] {
            let said = one(sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"));
            assert_eq!((said.reads, said.effect), (false, Effect::None), "{sql}");
        }
    }

    #[test]
    fn effects() {
        for (sql, effect) in [
            ("BEGIN", Effect::Begin),
            ("START TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY", Effect::Begin),
            ("COMMIT WORK", Effect::Finish),
            ("END", Effect::Finish),
            ("COMMIT AND CHAIN", Effect::None),
            ("ROLLBACK TO SAVEPOINT a", Effect::None),
            ("SAVEPOINT a", Effect::None),
            ("SET TIME ZONE 'UTC'", Effect::Set),
            ("SET LOCAL search_path TO a, \"B\"", Effect::Set),
            ("SET client_encoding TO 'UTF8'", Effect::Set),
            ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", Effect::Set),
            ("RESET ALL", Effect::Set),
            (
                "PREPARE p (int) AS SELECT a FROM t WHERE b = $1 ORDER BY a",
                Effect::Prepare(hash(b"p")),
            ),
            ("EXECUTE P (5)", Effect::Execute(hash(b"p"))),
            ("DEALLOCATE PREPARE \"P\"", Effect::Deallocate(Some(hash(b"P")))),
            ("DEALLOCATE ALL", Effect::Deallocate(None)),
            ("DISCARD ALL", Effect::Deallocate(None)),
        ] {
            let said = one(sql).unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"));
            assert_eq!(said.effect, effect, "{sql}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (sql, refusal) in [
            ("SELECT now()", Refusal::Function),
            ("SELECT \"now\" ( )", Refusal::Function),
            ("SELECT x.random/**/()", Refusal::Function),
            ("SELECT DISTINCT random()", Refusal::Function),
            ("SELECT gen_random_uuid()", Refusal::Function),
            ("WITH a AS (SELECT 1) TABLE a ORDER BY 1, random()", Refusal::Function),
            ("WITH a AS (SELECT 1) DELETE FROM t USING a, random()", Refusal::Function),
            ("SELECT sum(a) OVER (ROWS 1 PRECEDING) FROM t", Refusal::Limit),
            ("SET default_transaction_isolation TO 'serializable'", Refusal::Parameter),
            ("SELECT txid_current()", Refusal::Function),
            ("SELECT lo_create(0)", Refusal::Function),
            ("CREATE TABLE t (a timestamp DEFAULT now())", Refusal::Function),
            ("SELECT * FROM t JOIN u ON random() < 1", Refusal::Function),
            ("DELETE FROM t USING random()", Refusal::Function),
            ("SELECT current_timestamp", Refusal::Present),
            ("INSERT INTO t VALUES ('now')", Refusal::Present),
            ("SELECT date $$today$$", Refusal::Present),
            ("SELECT 'n' \n 'ow'", Refusal::Unclear),
            ("SELECT pg_sleep(1)", Refusal::Name),
            ("SELECT pg_advisory_lock(1)", Refusal::Name),
            ("SELECT * FROM pg_class", Refusal::Name),
            ("SELECT * FROM \"pg_class\"", Refusal::Name),
            ("SELECT ctid FROM t", Refusal::Name),
            ("SELECT 't'::regclass::oid", Refusal::Name),
            ("SELECT * FROM information_schema.check_constraints", Refusal::Name),
            ("SET search_path TO information_schema", Refusal::Name),
            ("SET search_path TO 'pg_catalog'", Refusal::Name),
            ("SELECT a FROM t FOR UPDATE SKIP LOCKED", Refusal::Name),
            ("PREPARE TRANSACTION 'x'", Refusal::Command),
            ("COMMIT PREPARED 'x'", Refusal::Name),
            ("SELECT a FROM t LIMIT 1", Refusal::Limit),
            ("SELECT a FROM (SELECT a FROM t OFFSET 1) s ORDER BY a", Refusal::Limit),
            ("SELECT DISTINCT ON (a) a, b FROM t", Refusal::Limit),
            ("SELECT array_agg(a) FROM t ORDER BY 1", Refusal::Aggregate),
            ("SELECT ARRAY(SELECT a FROM t)", Refusal::Aggregate),
            ("SELECT row_number() OVER (PARTITION BY a) FROM t", Refusal::Window),
            ("INSERT INTO t SELECT a FROM u", Refusal::Insertion),
            ("INSERT INTO t (SELECT a FROM u)", Refusal::Insertion),
            ("WITH x AS (INSERT INTO t SELECT a FROM u RETURNING a) SELECT 1", Refusal::Insertion),
            ("SELECT nextval('s') FROM t", Refusal::Sequence),
            ("UPDATE t SET a = nextval('s')", Refusal::Sequence),
            ("CREATE VIEW v AS SELECT nextval('s')", Refusal::Sequence),
            ("ALTER TABLE t ADD a serial", Refusal::Sequence),
            ("SELECT 1 INTO t", Refusal::Command),
            ("COPY t TO STDOUT", Refusal::Command),
            ("LISTEN a", Refusal::Command),
            ("DO $$BEGIN END$$", Refusal::Command),
            ("EXPLAIN SELECT 1", Refusal::Command),
            ("DECLARE c CURSOR FOR SELECT 1", Refusal::Command),
            ("(SELECT 1)", Refusal::Command),
            ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", Refusal::Object),
            ("CREATE EXTENSION x", Refusal::Object),
            ("ALTER SYSTEM SET a = 1", Refusal::Object),
            ("CREATE TABLE t AS EXECUTE p", Refusal::Command),
            ("SET lock_timeout = 0", Refusal::Parameter),
            ("SET a.b = 1", Refusal::Parameter),
            ("SET client_encoding TO 'LATIN1'", Refusal::Parameter),
            ("SET standard_conforming_strings = off", Refusal::Parameter),
            ("SET", Refusal::Parameter),
            ("SHOW ALL", Refusal::Parameter),
            ("BEGIN ISOLATION LEVEL SERIALIZABLE", Refusal::Name),
            ("SELECT (1", Refusal::Unclear),
            ("SELECT 1)", Refusal::Unclear),
        ] {
            assert_eq!(one(sql).err(), Some(refusal), "{sql}");
        }
    }

    #[test]
    fn several_statements() {
        let mut checker = Checker::new();
        let count =
            |checker: &mut Checker, sql: &str| checker.check(sql.as_bytes()).map(<[_]>::len);
        assert_eq!(count(&mut checker, " ; -- nothing\n;"), Ok(0));
        assert_eq!(count(&mut checker, "SELECT ';'; SELECT 2;"), Ok(2));
        assert_eq!(count(&mut checker, "SELECT 1; SELECT now()"), Err(Refusal::Function));
        let many = "SELECT 1;".repeat(STATEMENTS_MAX + 1);
        assert_eq!(count(&mut checker, &many[9..]), Ok(STATEMENTS_MAX));
        assert_eq!(count(&mut checker, &many), Err(Refusal::TooMany));
    }
}
