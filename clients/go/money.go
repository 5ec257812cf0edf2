package orderlog

import (
	"fmt"

	"github.com/shopspring/decimal"
	"google.golang.org/genproto/googleapis/type/money"
)

// Money makes the message of an amount, without rounding.
//
// It fails for more than nine decimals, and for amounts beyond 64 bits.
func Money(currency string, amount decimal.Decimal) (*money.Money, error) {
	nanos := amount.Sub(amount.Truncate(0)).Shift(9)
	if !nanos.IsInteger() {
		return nil, fmt.Errorf("%s has more than nine decimals", amount)
	}
	units := amount.Truncate(0).BigInt()
	if !units.IsInt64() {
		return nil, fmt.Errorf("%s does not fit into 64 bits", amount)
	}
	return &money.Money{
		CurrencyCode: currency,
		Units:        units.Int64(),
		Nanos:        int32(nanos.IntPart()),
	}, nil
}

// Amount returns the amount of a message, exactly.
func Amount(of *money.Money) decimal.Decimal {
	return decimal.New(of.GetUnits(), 0).Add(decimal.New(int64(of.GetNanos()), -9))
}
