//! Exact amounts of money, and currencies.

use std::fmt;

/// An amount of money of some currency, in units of 1/10,000.
///
/// Arithmetic is checked: a result that does not fit into 64 bits is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i64);

impl Amount {
    /// The amount that [`Amount::sum`] starts from.
    pub const ZERO: Self = Self(0);

    /// Makes an amount from units of 1/10,000.
    #[must_use]
    pub const fn new(ten_thousandths: i64) -> Self {
        Self(ten_thousandths)
    }

    /// Returns the amount in units of 1/10,000.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Returns whether the amount may be a price: zero or more.
    #[must_use]
    pub const fn is_price(self) -> bool {
        self.0 >= 0
    }

    /// Multiplies the amount. Returns `None` on overflow.
    #[must_use]
    pub fn times(self, count: u32) -> Option<Self> {
        self.0.checked_mul(i64::from(count)).map(Self)
    }

    /// Adds amounts. Returns `None` on overflow, or if one of the amounts is `None`.
    #[must_use]
    pub fn sum(amounts: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, |sum, amount| {
            sum.0.checked_add(amount?.0).map(Self)
        })
    }
}

/// A currency: three capital letters, as in ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The ISO 4217 code for "no currency".
    pub const NONE: Self = Self(*b"XXX");

    /// Returns whether an order can be paid in it. ISO 4217 has codes for no currency and for tests.
    #[must_use]
    pub fn is_money(self) -> bool {
        self != Self::NONE && self.code() != "XTS"
    }

    /// Returns the currency with this code, or `None` if the code is not three capital letters.
    #[must_use]
    pub fn new(code: &str) -> Option<Self> {
        let code: [u8; 3] = code.as_bytes().try_into().ok()?;
        code.iter()
            .all(u8::is_ascii_uppercase)
            .then_some(Self(code))
    }

    /// Returns the code of three letters.
    #[must_use]
    pub fn code(&self) -> &str {
        // The constructors take only capital letters, so that the bytes are UTF-8.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rust_decimal::Decimal;

    use super::*;

    fn decimal(amount: Amount) -> Decimal {
        Decimal::new(amount.get(), 4)
    }

    proptest! {
        #[test]
        fn product_is_exact_or_none(value: i64, count: u32) {
            let exact = i128::from(value) * i128::from(count);
            let product = Amount::new(value).times(count);
            prop_assert_eq!(product.map(|amount| i128::from(amount.get())), i64::try_from(exact).ok().map(i128::from));
        }

        #[test]
        fn sum_is_exact_or_none(values: Vec<i64>) {
            let exact: Decimal = values.iter().map(|value| decimal(Amount::new(*value))).sum();
            match Amount::sum(values.iter().map(|value| Some(Amount::new(*value)))) {
                Some(sum) => prop_assert_eq!(decimal(sum), exact),
                None => {
                    let sums = values.iter().scan(0i128, |sum, value| {
                        *sum += i128::from(*value);
                        Some(*sum)
                    });
                    let overflows = sums.into_iter().any(|sum| i64::try_from(sum).is_err());
                    prop_assert!(overflows);
                }
            }
        }

        #[test]
        fn currency_is_three_capital_letters(code: String) {
            let holds = code.len() == 3 && code.chars().all(|letter| letter.is_ascii_uppercase());
            prop_assert_eq!(Currency::new(&code).is_some(), holds);
        }
    }

    #[test]
    fn currency_keeps_its_code() {
        assert_eq!(Currency::new("EUR").unwrap().code(), "EUR");
    }
}
