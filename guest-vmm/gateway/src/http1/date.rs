//! HTTP dates (RFC 9110, section 5.6.7): seconds since 1970-01-01T00:00:00Z to text and back.

/// Length of an IMF-fixdate in bytes.
pub(super) const DATE_BYTES: usize = 29;

const DAYS: [&[u8; 3]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
const LONG_DAYS: [&[u8]; 7] =
    [b"Thursday", b"Friday", b"Saturday", b"Sunday", b"Monday", b"Tuesday", b"Wednesday"];
const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// The IMF-fixdate of `seconds` (years 1970 to 9999; later ones are cut to that).
pub(super) fn format(seconds: u64) -> [u8; DATE_BYTES] {
    let seconds = seconds.min(253_402_300_799);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[..3].copy_from_slice(DAYS[(days % 7) as usize]);
    two(&mut text[5..7], day);
    text[8..11].copy_from_slice(MONTHS[(month - 1) as usize]);
    two(&mut text[12..14], year / 100);
    two(&mut text[14..16], year % 100);
    two(&mut text[17..19], second / 3600);
    two(&mut text[20..22], second / 60 % 60);
    two(&mut text[23..25], second % 60);
    text
}

/// Reads any of the three formats; `now` (seconds) resolves two-digit years. `None` unless the
/// text is exactly a date (years 1970 to 9999; a leap second counts as the second before).
pub(super) fn parse(text: &[u8], now: u64) -> Option<u64> {
    let comma = text.iter().position(|&b| b == b',');
    match comma {
        Some(3) => {
            DAYS.iter().find(|d| &text[..3] == d.as_slice())?;
            imf(text)
        }
        Some(at) => {
            LONG_DAYS.iter().find(|d| &text[..at] == **d)?;
            rfc850(&text[at..], now)
        }
        None => asctime(text),
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf(t: &[u8]) -> Option<u64> {
    let shape = t.len() == DATE_BYTES
        && &t[3..5] == b", "
        && t[7] == b' '
        && t[11] == b' '
        && t[16] == b' '
        && &t[25..] == b" GMT";
    if !shape {
        return None;
    }
    seconds(number(&t[12..16])?, month(&t[8..11])?, number(&t[5..7])?, &t[17..25])
}

/// `, 06-Nov-94 08:49:37 GMT`: a year more than 50 years ahead lies in the past.
fn rfc850(t: &[u8], now: u64) -> Option<u64> {
    let shape = t.len() == 24
        && &t[..2] == b", "
        && t[4] == b'-'
        && t[8] == b'-'
        && t[11] == b' '
        && &t[20..] == b" GMT";
    if !shape {
        return None;
    }
    let (this_year, _, _) = civil(now / 86_400);
    let mut year = this_year / 100 * 100 + number(&t[9..11])?;
    if year > this_year + 50 {
        year -= 100;
    }
    seconds(year, month(&t[5..8])?, number(&t[2..4])?, &t[12..20])
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(t: &[u8]) -> Option<u64> {
    let shape = t.len() == 24 && t[3] == b' ' && t[7] == b' ' && t[10] == b' ' && t[19] == b' ';
    if !shape {
        return None;
    }
    DAYS.iter().find(|d| &t[..3] == d.as_slice())?;
    let day = if t[8] == b' ' { number(&t[9..10])? } else { number(&t[8..10])? };
    seconds(number(&t[20..24])?, month(&t[4..7])?, day, &t[11..19])
}

fn seconds(year: u64, month: u64, day: u64, clock: &[u8]) -> Option<u64> {
    let (hour, minute, second) =
        (number(&clock[..2])?, number(&clock[3..5])?, number(&clock[6..8])?);
    let leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    let month_days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let sound = clock[2] == b':'
        && clock[5] == b':'
        && year >= 1970
        && (1..=month_days).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !sound {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second.min(59))
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, counted in years that begin in March.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The year, month and day of a day since 1970-01-01.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    (year, month, of_year - (153 * shifted + 2) / 5 + 1)
}

fn month(text: &[u8]) -> Option<u64> {
    MONTHS.iter().position(|m| m.as_slice() == text).map(|at| at as u64 + 1)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |n, &d| d.is_ascii_digit().then(|| n * 10 + u64::from(d - b'0')))
}

fn two(to: &mut [u8], value: u64) {
    to[0] = b'0' + (value / 10 % 10) as u8;
    to[1] = b'0' + (value % 10) as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_000_000; // November 2026

    #[test]
    fn known_dates() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_827_696, "Tue, 29 Feb 2000 12:34:56 GMT"),
            (4_102_444_799, "Thu, 31 Dec 2099 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (u64::from(u32::MAX), "Sun, 07 Feb 2106 06:28:15 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(core::str::from_utf8(&format(seconds)).unwrap(), text);
            assert_eq!(parse(text.as_bytes(), NOW), Some(seconds), "{text}");
        }
    }

    #[test]
    fn every_day_until_2106_comes_back() {
        let mut weekday = 0;
        for day in 0..=u64::from(u32::MAX) / 86_400 {
            let text = format(day * 86_400 + day % 86_400);
            assert_eq!(parse(&text, NOW), Some(day * 86_400 + day % 86_400));
            assert_eq!(&text[..3], DAYS[weekday]);
            weekday = (weekday + 1) % 7;
        }
    }

    #[test]
    fn obsolete_formats() {
        assert_eq!(parse(b"Sunday, 06-Nov-94 08:49:37 GMT", NOW), Some(784_111_777));
        assert_eq!(parse(b"Sun Nov  6 08:49:37 1994", NOW), Some(784_111_777));
        assert_eq!(parse(b"Monday, 06-Nov-34 08:49:37 GMT", NOW), Some(2_046_415_777));
        assert_eq!(
            parse(b"Sunday, 06-Nov-77 08:49:37 GMT", NOW),
            parse(b"Sun Nov  6 08:49:37 1977", NOW)
        );
    }

    #[test]
    fn anything_else_is_no_date() {
        for text in [
            "",
            "0",
            "Sun",
            "Sun,",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "Sun Nov 6 08:49:37 1994",
            "Sun, 29 Feb 2100 00:00:00 GMT",
            "-Sun, 06 Nov 1994 08:49:37 GM",
        ] {
            assert_eq!(parse(text.as_bytes(), NOW), None, "{text}");
        }
    }
}
