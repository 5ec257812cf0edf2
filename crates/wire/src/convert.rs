//! Money and times, as numbers that can be compared and stored, and back.

use contract::google::r#type::Money;
use prost_types::Timestamp;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// One unit of a currency in the numbers that amounts are computed in: they have 4 decimals.
pub const UNIT: i64 = 10_000;

/// Nanoseconds in the smallest amount.
const NANOS_PER_AMOUNT: i32 = 100_000;

/// An amount of money in units of 1/10,000, or `None` if it has more decimals than that, does not
/// fit, or is malformed (signs that differ, nanos of a whole unit or more).
#[must_use]
pub fn amount(money: &Money) -> Option<i64> {
    let signs_agree =
        money.units == 0 || money.nanos == 0 || (money.units > 0) == (money.nanos > 0);
    if !signs_agree
        || money.nanos.unsigned_abs() >= 1_000_000_000
        || money.nanos % NANOS_PER_AMOUNT != 0
    {
        return None;
    }
    money
        .units
        .checked_mul(UNIT)?
        .checked_add(i64::from(money.nanos / NANOS_PER_AMOUNT))
}

/// Money of an amount in units of 1/10,000.
#[must_use]
pub fn money(amount: i64, currency: &str) -> Money {
    // The remainder is below 10,000 and so the product below 1,000,000,000.
    let nanos = (amount % UNIT) as i32 * NANOS_PER_AMOUNT;
    Money {
        currency_code: currency.to_owned(),
        units: amount / UNIT,
        nanos,
    }
}

/// Nanoseconds since 1970, or `None` if that does not fit into 64 bits (before 1677, after 2262)
/// or is malformed.
#[must_use]
pub fn nanoseconds(time: &Timestamp) -> Option<i64> {
    if !(0..1_000_000_000).contains(&time.nanos) {
        return None;
    }
    time.seconds
        .checked_mul(NANOS_PER_SECOND)?
        .checked_add(i64::from(time.nanos))
}

/// The time that is so many nanoseconds after 1970.
#[must_use]
pub fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp {
        seconds: nanoseconds.div_euclid(NANOS_PER_SECOND),
        // The remainder is below 1,000,000,000.
        nanos: nanoseconds.rem_euclid(NANOS_PER_SECOND) as i32,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_amount_survives_as_money(value: i64) {
            prop_assert_eq!(amount(&money(value, "EUR")), Some(value));
        }

        #[test]
        fn every_time_survives_as_a_timestamp(value: i64) {
            prop_assert_eq!(nanoseconds(&timestamp(value)), Some(value));
        }
    }

    #[test]
    fn money_that_is_not_an_amount_is_refused() {
        let of = |units, nanos| {
            amount(&Money {
                currency_code: "EUR".into(),
                units,
                nanos,
            })
        };
        assert_eq!(of(1, 234_500_000), Some(12_345));
        assert_eq!(of(-1, -234_500_000), Some(-12_345));
        assert_eq!(of(1, 234_560_000), None, "5 decimals");
        assert_eq!(of(1, -1), None, "signs differ");
        assert_eq!(of(0, 1_000_000_000), None, "a whole unit of nanos");
        assert_eq!(of(0, i32::MIN), None, "the number without a positive one");
        assert_eq!(of(i64::MAX, 0), None, "does not fit");
    }
}
