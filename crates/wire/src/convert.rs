//! Converts money and times to integers that can be compared and stored, and back.

use contract::google::r#type::Money;
use prost_types::Timestamp;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// One unit of a currency as an amount. Amounts have 4 decimals.
pub const UNIT: i64 = 10_000;

/// The smallest amount, 1/10,000, in the nanos of [`Money`].
const NANOS_PER_AMOUNT: i32 = 100_000;

/// Converts money to units of 1/10,000. Returns `None` if the money
/// - has more than 4 decimals,
/// - does not fit into 64 bits, or
/// - is malformed: units and nanos of different signs, or nanos of a whole unit or more.
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

/// Converts an amount in units of 1/10,000 to money.
#[must_use]
pub fn money(amount: i64, currency: &str) -> Money {
    // The remainder is below 10,000, so that the product is below 1,000,000,000.
    let nanos = (amount % UNIT) as i32 * NANOS_PER_AMOUNT;
    Money {
        currency_code: currency.to_owned(),
        units: amount / UNIT,
        nanos,
    }
}

/// Converts a time to nanoseconds since 1970. Returns `None` if the time is malformed, or does not
/// fit into 64 bits (before 1677 or after 2262).
#[must_use]
pub fn nanoseconds(time: &Timestamp) -> Option<i64> {
    if !(0..1_000_000_000).contains(&time.nanos) {
        return None;
    }
    // In 128 bits, for the product alone may not fit where the sum does.
    let seconds = i128::from(time.seconds) * i128::from(NANOS_PER_SECOND);
    i64::try_from(seconds + i128::from(time.nanos)).ok()
}

/// Converts nanoseconds since 1970 to a time.
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
    fn first_and_last_time_survive() {
        for value in [i64::MIN, i64::MIN + 1, i64::MAX] {
            assert_eq!(nanoseconds(&timestamp(value)), Some(value));
        }
        let before = Timestamp {
            nanos: timestamp(i64::MIN).nanos - 1,
            ..timestamp(i64::MIN)
        };
        assert_eq!(nanoseconds(&before), None);
    }

    #[test]
    fn money_that_is_not_an_amount_is_none() {
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
