//! Parses and formats money as decimal numbers, without rounding.

use contract::google::r#type::Money;
use rust_decimal::{Decimal, prelude::ToPrimitive as _};

/// Limit of decimals: the contract counts fractions of a unit in nanos.
const MOST_DECIMALS: u32 = 9;

/// Parses an amount such as `12.50`.
///
/// # Errors
/// The text is no decimal number, has more than [`MOST_DECIMALS`] decimals or is too large.
pub(super) fn parse(text: &str) -> Result<Decimal, String> {
    let amount = Decimal::from_str_exact(text)
        .map_err(|_| format!("`{text}` is not a decimal number such as 12.50"))?
        .normalize();
    if amount.scale() > MOST_DECIMALS {
        return Err(format!("`{text}` has more than {MOST_DECIMALS} decimals"));
    }
    if amount.trunc().to_i64().is_none() {
        return Err(format!("`{text}` is too large"));
    }
    Ok(amount)
}

/// Converts an amount that [`parse`] has returned to the contract's message.
pub(super) fn of(amount: Decimal, currency: &str) -> Money {
    let nanos = amount.fract() * Decimal::from(1_000_000_000);
    Money {
        currency_code: currency.to_owned(),
        units: amount.trunc().to_i64().unwrap_or_default(),
        nanos: nanos.to_i32().unwrap_or_default(),
    }
}

/// Formats an amount such as `1,234.50 USD`: with all its decimals, and at least two.
pub(super) fn text(money: Option<&Money>) -> String {
    let Some(money) = money else {
        return String::new();
    };
    let sign = if money.units < 0 || money.nanos < 0 {
        "-"
    } else {
        ""
    };
    let units = count(money.units.unsigned_abs());
    let decimals = format!("{:09}", money.nanos.unsigned_abs());
    let decimals = format!("{:0<2}", decimals.trim_end_matches('0'));
    format!("{sign}{units}.{decimals} {}", money.currency_code)
}

/// Formats a number such as `1,234`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(units: i64, nanos: i32) -> Money {
        Money {
            currency_code: "USD".into(),
            units,
            nanos,
        }
    }

    #[test]
    fn amounts_are_read_exactly() {
        let read = |text| parse(text).map(|amount| of(amount, "USD"));
        assert_eq!(read("12.5"), Ok(money(12, 500_000_000)));
        assert_eq!(read("0.000000001"), Ok(money(0, 1)));
        assert_eq!(read("1.10000000000"), Ok(money(1, 100_000_000)));
        assert_eq!(read("-0.5"), Ok(money(0, -500_000_000)));
        assert_eq!(
            read("9223372036854775807.999999999"),
            Ok(money(i64::MAX, 999_999_999))
        );
        for wrong in [
            "",
            "12,50",
            "1e3",
            "0.0000000001",
            "9223372036854775808",
            "0.00000000000000000000000000000000001",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn amounts_are_shown_exactly() {
        let shown = |units, nanos| text(Some(&money(units, nanos)));
        assert_eq!(shown(1_234, 500_000_000), "1,234.50 USD");
        assert_eq!(shown(0, 0), "0.00 USD");
        assert_eq!(shown(999, 123_400_000), "999.1234 USD");
        assert_eq!(shown(0, -1), "-0.000000001 USD");
        assert_eq!(
            shown(i64::MIN, -999_999_999),
            "-9,223,372,036,854,775,808.999999999 USD"
        );
        assert_eq!(text(None), "");
    }
}
