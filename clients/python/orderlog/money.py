"""Converts amounts of money without rounding."""

from decimal import Decimal

from google.type.money_pb2 import Money

_NANOS = 1_000_000_000


def money(currency: str, amount: Decimal) -> Money:
    """Makes a message from an amount, and raises `ValueError` beyond nine decimals."""
    nanos = amount.scaleb(9)
    if nanos != nanos.to_integral_value():
        message = f"{amount} has more than nine decimals"
        raise ValueError(message)
    # Both parts have the amount's sign, because a Decimal's remainder has its dividend's sign.
    units, rest = divmod(nanos, Decimal(_NANOS))
    return Money(currency_code=currency, units=int(units), nanos=int(rest))


def amount(money: Money) -> Decimal:
    """Makes a decimal from a message."""
    exact = money.units + Decimal(money.nanos).scaleb(-9)
    # Returns 12.5 rather than 12.500000000, and 100 rather than 1E+2.
    return exact.quantize(1) if exact == exact.to_integral_value() else exact.normalize()
