"""Amounts of money, exactly."""

from decimal import Decimal

from google.type.money_pb2 import Money

_NANOS = 1_000_000_000


def money(currency: str, amount: Decimal) -> Money:
    """Make an amount of at most nine decimals a message."""
    nanos = amount.scaleb(9)
    if nanos != nanos.to_integral_value():
        message = f"{amount} has more than nine decimals"
        raise ValueError(message)
    # Both have the amount's sign: the remainder of a Decimal takes that of its dividend.
    units, rest = divmod(nanos, Decimal(_NANOS))
    return Money(currency_code=currency, units=int(units), nanos=int(rest))


def amount(money: Money) -> Decimal:
    """Make a message a decimal."""
    exact = money.units + Decimal(money.nanos).scaleb(-9)
    # 12.5 and not 12.500000000, but 100 and not 1E+2.
    return exact.quantize(1) if exact == exact.to_integral_value() else exact.normalize()
