//! Messages to the client (PostgreSQL manual, 55.7 and 55.8), in their one form.

use super::messages::Fields;
pub(super) use crate::out::Out;

/// What a replica said is no answer: it says it of itself only, or makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoAnswer;

/// OIDs from here on are given out by each server by itself (`FirstNormalObjectId`).
pub(super) const OWN_OID: u32 = 16_384;
/// The type `text`, which stands for types that are not built in.
const TEXT_OID: u32 = 25;

impl Out {
    pub(super) fn put_short(&mut self, value: u16) {
        self.put(&value.to_be_bytes());
    }

    pub(super) fn put_long(&mut self, value: u32) {
        self.put(&value.to_be_bytes());
    }

    /// The start of a message with a body of so many bytes.
    pub(super) fn head(&mut self, kind: u8, len: usize) {
        self.put(&[kind]);
        self.put_long(len as u32 + 4);
    }

    pub(super) fn message(&mut self, kind: u8, body: &[u8]) {
        self.head(kind, body.len());
        self.put(body);
    }

    /// An error of ours.
    pub(super) fn error(&mut self, severity: &str, code: &str, text: &str) {
        let fields = [(b'S', severity), (b'V', severity), (b'C', code), (b'M', text)];
        let len = fields.iter().map(|(_, text)| text.len() + 2).sum::<usize>() + 1;
        self.head(b'E', len);
        for (kind, text) in fields {
            self.put(&[kind]);
            self.put(text.as_bytes());
            self.put(&[0]);
        }
        self.put(&[0]);
    }
}

/// What an error of a server has.
#[derive(Clone, Copy)]
pub(super) struct ServerError<'m> {
    severity: &'m [u8],
    code: &'m [u8],
    fields: Fields<'m>,
}

/// Kinds of an error's fields that pass: the position in the statement, and the names of schema, table, column, type and
/// constraint. Its severity, code and text do in any case.
const PASSING: &[u8] = b"PstcdnM";

impl<'m> ServerError<'m> {
    pub(super) fn read(body: &'m [u8]) -> Result<Self, NoAnswer> {
        let fields = Fields(body);
        let mut error = Self { severity: b"", code: b"", fields };
        for (kind, text) in error.fields() {
            match kind {
                b'V' => error.severity = text,
                b'C' => error.code = text,
                _ => {}
            }
        }
        let known = matches!(error.severity, b"ERROR" | b"FATAL");
        if known && error.code.len() == 5 { Ok(error) } else { Err(NoAnswer) }
    }

    fn fields(&self) -> impl Iterator<Item = (u8, &'m [u8])> + use<'m> {
        let mut fields = self.fields;
        core::iter::from_fn(move || {
            let kind = fields.byte().filter(|kind| *kind != 0)?;
            Some((kind, fields.string()?))
        })
    }

    pub(super) fn is_fatal(&self) -> bool {
        self.severity == b"FATAL"
    }

    /// Whether it tells of that server only: its resources, its operator, its locks between sessions that it alone
    /// has, or itself.
    pub(super) fn is_private(&self) -> bool {
        match self.code {
            b"57014" => false,
            b"40P01" | b"54001" => true,
            code => [&b"53"[..], b"57", b"58", b"F0", b"XX", b"08"].contains(&&code[..2]),
        }
    }

    /// Writes it in its one form, which is not longer than it came, and 32 bytes.
    pub(super) fn write(&self, out: &mut Out) {
        let kept = || self.fields().filter(|(kind, _)| PASSING.contains(kind));
        let own = [(b'S', self.severity), (b'V', self.severity), (b'C', self.code)];
        let len = own.into_iter().chain(kept()).map(|(_, text)| text.len() + 2).sum::<usize>();
        out.head(b'E', len + 1);
        for (kind, text) in own.into_iter().chain(kept()) {
            out.put(&[kind]);
            out.put(text);
            out.put(&[0]);
        }
        out.put(&[0]);
    }
}

/// Writes a description of rows without what only one server knows of their columns: where they come from, and the
/// OIDs of types that are not built in.
pub(super) fn row_description(body: &[u8], out: &mut Out) -> Result<(), NoAnswer> {
    let mut fields = Fields(body);
    let count = fields.short().ok_or(NoAnswer)?;
    out.head(b'T', body.len());
    out.put_short(count);
    for _ in 0..count {
        let name = fields.string().ok_or(NoAnswer)?;
        let (_, _) = fields.long().zip(fields.short()).ok_or(NoAnswer)?;
        let oid = fields.long().ok_or(NoAnswer)?;
        let rest = fields.take(8).ok_or(NoAnswer)?;
        out.put(name);
        // The NUL of the name, no table, no column.
        out.put(&[0; 7]);
        out.put_long(if oid < OWN_OID { oid } else { TEXT_OID });
        if oid < OWN_OID {
            out.put(rest);
        } else {
            // As `text` has it: a size of -1, no modifier.
            out.put(&[0xff; 6]);
            out.put(&rest[6..]);
        }
    }
    if fields.0.is_empty() { Ok(()) } else { Err(NoAnswer) }
}

/// The same of a statement's parameters.
pub(super) fn parameter_description(body: &[u8], out: &mut Out) -> Result<(), NoAnswer> {
    let mut fields = Fields(body);
    let count = fields.short().ok_or(NoAnswer)?;
    out.head(b't', body.len());
    out.put_short(count);
    for _ in 0..count {
        let oid = fields.long().ok_or(NoAnswer)?;
        out.put_long(if oid < OWN_OID { oid } else { TEXT_OID });
    }
    if fields.0.is_empty() { Ok(()) } else { Err(NoAnswer) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn written(write: impl FnOnce(&mut Out)) -> Vec<u8> {
        let mut out = Out::new(1000);
        write(&mut out);
        assert!(!out.overflowed());
        out.front().to_vec()
    }

    #[test]
    fn errors_say_what_all_servers_say() {
        let body = b"SFEHLER\0VERROR\0C23505\0Mduplicate key\0DKey (a)=(1)\0HDo\0P15\0nt_pkey\0Fnbtinsert.c\0L1\0Rx\0\0";
        let error = ServerError::read(body).ok().unwrap();
        assert!(!error.is_private() && !error.is_fatal());
        let wanted = b"SERROR\0VERROR\0C23505\0Mduplicate key\0P15\0nt_pkey\0\0";
        assert_eq!(written(|out| error.write(out))[5..], wanted[..]);
        for code in ["53300", "57P03", "XX000", "40P01", "58030"] {
            let body = std::format!("VERROR\0C{code}\0Mx\0\0");
            assert!(ServerError::read(body.as_bytes()).is_ok_and(|error| error.is_private()));
        }
        for body in [&b""[..], b"VERROR\0\0", b"VPANIC\0CXX000\0\0", b"VERROR\0C1\0\0"] {
            assert!(ServerError::read(body).is_err());
        }
    }

    #[test]
    fn columns_are_of_no_table() {
        let column = |name: &str, table: u32, number: u16, oid: u32, rest: [u8; 8]| {
            [
                name.as_bytes(),
                &[0],
                &table.to_be_bytes(),
                &number.to_be_bytes(),
                &oid.to_be_bytes(),
                &rest,
            ]
            .concat()
        };
        let (int, mood) = ([0, 4, 255, 255, 255, 255, 0, 0], [0, 4, 0, 0, 0, 9, 0, 1]);
        let body =
            [&[0, 2][..], &column("a", 16_400, 1, 23, int), &column("b", 1, 2, 16_401, mood)];
        let plain = [255, 255, 255, 255, 255, 255, 0, 1];
        let wanted = [&[0, 2][..], &column("a", 0, 0, 23, int), &column("b", 0, 0, 25, plain)];
        let (body, wanted) = (body.concat(), wanted.concat());
        assert_eq!(written(|out| row_description(&body, out).unwrap())[5..], wanted[..]);
        for len in 0..body.len() {
            assert_eq!(row_description(&body[..len], &mut Out::new(1000)), Err(NoAnswer));
        }
        let types = [0, 2, 0, 0, 0, 23, 0, 0, 64, 1];
        let said = written(|out| parameter_description(&types, out).unwrap());
        assert_eq!(said[5..], [0, 2, 0, 0, 0, 23, 0, 0, 0, 25]);
    }
}
