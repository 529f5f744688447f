//! `IMF-fixdate` (RFC 9110 5.6.7), the one form of a date that may be sent.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Seconds since 1970-01-01 UTC, if `text` is an `IMF-fixdate` of a day that exists, with its right
/// day of the week.
pub(super) fn parse(text: &str) -> Option<i64> {
    let form = b"www, dd mmm dddd dd:dd:dd GMT";
    let bytes = text.as_bytes();
    let same = |(&form, &byte): (&u8, &u8)| match form {
        b'w' | b'm' => byte.is_ascii_alphabetic(),
        b'd' => byte.is_ascii_digit(),
        _ => form == byte,
    };
    if bytes.len() != form.len() || !form.iter().zip(bytes).all(same) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().ok();
    let month = MONTHS.iter().position(|name| *name == &text[8..11])?;
    let (day, year) = (number(5..7)?, number(12..16)?);
    let (hour, minute, second) = (number(17..19)?, number(20..22)?, number(23..25)?);
    if year < 1970 || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    if day < 1 || day > days_in(month, year) {
        return None;
    }
    let years: i64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let months: i64 = (0..month).map(|month| days_in(month, year)).sum();
    let days = years + months + day - 1;
    (DAYS[(days % 7) as usize] == &text[..3])
        .then_some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(month: usize, year: i64) -> i64 {
    match month {
        1 => 28 + i64::from(is_leap(year)),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}
