//! Days since 1970-01-01 as a date.

/// Year, month and day of the month (both from 1) in the Gregorian calendar.
pub fn civil_date(days: u64) -> (u64, u64, u64) {
    // Days are counted in eras of 400 years from 0000-03-01, so that a leap day is a year's last.
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let (month, carry) = if from_march < 10 { (from_march + 3, 0) } else { (from_march - 9, 1) };
    (era * 400 + year + carry, month, of_year - (153 * from_march + 2) / 5 + 1)
}
