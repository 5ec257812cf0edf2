//! Parses and formats times.

use jiff::{civil::Date, tz::TimeZone};
use prost_types::Timestamp;

/// Parses an RFC 3339 time, or a date, which stands for its midnight in UTC.
///
/// # Errors
/// The text is neither of both.
pub(super) fn parse(text: &str) -> Result<Timestamp, String> {
    let time = match text.parse::<jiff::Timestamp>() {
        Ok(time) => time,
        Err(_) => Date::strptime("%Y-%m-%d", text)
            .and_then(|date| TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)))
            .map_err(|_| {
                format!("`{text}` is neither a date nor a time such as 2026-11-24T09:00:00Z")
            })?,
    };
    let nanoseconds = time.as_nanosecond();
    let second = 1_000_000_000;
    Ok(Timestamp {
        seconds: i64::try_from(nanoseconds.div_euclid(second))
            .map_err(|error| error.to_string())?,
        nanos: i32::try_from(nanoseconds.rem_euclid(second)).map_err(|error| error.to_string())?,
    })
}

/// Formats a time such as `2026-11-24 09:00:00Z`, to the second.
pub(super) fn text(time: Option<&Timestamp>) -> String {
    time.and_then(|time| jiff::Timestamp::new(time.seconds, 0).ok())
        .map(|time| time.strftime("%Y-%m-%d %H:%M:%SZ").to_string())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_are_read() {
        let read = |text| parse(text).map(|time| (time.seconds, time.nanos));
        assert_eq!(read("1970-01-02"), Ok((86_400, 0)));
        assert_eq!(read("1970-01-01T01:00:00+01:00"), Ok((0, 0)));
        assert_eq!(read("1969-12-31T23:59:59.5Z"), Ok((-1, 500_000_000)));
        for wrong in ["", "yesterday", "2026-02-30", "2026-11-24T09:00:00"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_shown_to_the_second() {
        let time = parse("2026-11-24T09:00:01.75Z").unwrap();
        assert_eq!(text(Some(&time)), "2026-11-24 09:00:01Z");
        assert_eq!(text(None), "");
    }
}
