//! Bytes on their way out, written as the Redis protocol has them.

pub(super) use crate::out::Out;

/// Most bytes of a header such as `$12345`, its line end included.
pub(super) const HEADER_BYTES: usize = 24;

impl Out {
    /// A kind's sign, a number and a line end.
    pub(super) fn put_header(&mut self, sign: u8, value: i64) {
        let mut text = [0; HEADER_BYTES];
        text[0] = sign;
        let digits = decimal(value, &mut text[1..HEADER_BYTES - 2]);
        text[1 + digits..][..2].copy_from_slice(b"\r\n");
        self.put(&text[..digits + 3]);
    }

    /// The header of an array of so many.
    pub(super) fn put_array(&mut self, count: usize) {
        self.put_header(b'*', count as i64);
    }

    pub(super) fn put_bulk(&mut self, bytes: &[u8]) {
        self.put_header(b'$', bytes.len() as i64);
        self.put(bytes);
        self.put(b"\r\n");
    }

    /// A number as a bulk string.
    pub(super) fn put_bulk_number(&mut self, value: i64) {
        let mut text = [0; 20];
        let len = decimal(value, &mut text);
        self.put_bulk(&text[..len]);
    }
}

/// Writes `value` to the start of `text`, which has room for 20 bytes, and returns how many it took.
pub(super) fn decimal(value: i64, text: &mut [u8]) -> usize {
    let mut digits = [0; 20];
    let (mut at, mut left) = (digits.len(), value.unsigned_abs());
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    let len = digits.len() - at;
    text[..len].copy_from_slice(&digits[at..]);
    len
}

/// Length of a number in decimal, in bytes.
pub(super) fn decimal_bytes(value: usize) -> usize {
    value.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Length of a bulk string of so many bytes, in bytes.
pub(super) fn bulk_bytes(len: usize) -> usize {
    1 + decimal_bytes(len) + 2 + len + 2
}

/// A whole number in its one spelling, as Redis reads the arguments that are numbers.
pub(super) fn number(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', digits) => (true, digits),
        _ => (false, text),
    };
    let spelled = match digits {
        [b'0'] => !negative,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !spelled {
        return None;
    }
    digits.iter().try_fold(0i64, |value, digit| {
        let digit = i64::from(digit - b'0');
        let value = value.checked_mul(10)?;
        if negative { value.checked_sub(digit) } else { value.checked_add(digit) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_spelling() {
        for value in [0, 1, -1, 10, i64::MAX, i64::MIN] {
            let mut text = [0; 20];
            let len = decimal(value, &mut text);
            assert_eq!(number(&text[..len]), Some(value));
        }
        for text in
            [&b""[..], b"-", b"-0", b"00", b"01", b"+1", b" 1", b"1 ", b"9223372036854775808"]
        {
            assert_eq!(number(text), None, "{text:?}");
        }
    }

    #[test]
    fn lengths_are_those_written() {
        for len in [0, 9, 10, 99, 100, 12_345] {
            let mut out = Out::new(20_000);
            out.put_bulk(&std::vec![b'x'; len]);
            assert_eq!(out.front().len(), bulk_bytes(len));
        }
    }

    #[test]
    fn what_does_not_fit_is_noticed() {
        let mut out = Out::new(8);
        out.put_bulk(b"1");
        assert!(!out.overflowed() && out.room() == 1);
        out.put(b"ab");
        assert!(out.overflowed());
    }
}
