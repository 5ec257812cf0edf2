package com.orderlog.client;

import com.google.type.Money;
import java.math.BigDecimal;

/** Converts amounts of money without rounding. */
public final class Amounts {
    private static final int PLACES = 9;

    private Amounts() {}

    /**
     * Makes a message from an amount.
     *
     * @throws ArithmeticException if the amount has more than nine decimals, or more than 64 bits
     *     of units
     */
    public static Money money(String currency, BigDecimal amount) {
        BigDecimal[] parts = amount.divideAndRemainder(BigDecimal.ONE);
        return Money.newBuilder()
                .setCurrencyCode(currency)
                .setUnits(parts[0].longValueExact())
                .setNanos(parts[1].movePointRight(PLACES).intValueExact())
                .build();
    }

    /** Returns the amount of a message, without zeros at the end: 12.5, 0, -0.0001. */
    public static BigDecimal amount(Money money) {
        BigDecimal exact =
                BigDecimal.valueOf(money.getUnits())
                        .add(BigDecimal.valueOf(money.getNanos(), PLACES))
                        .stripTrailingZeros();
        // Returns 100 rather than 1E+2.
        return exact.scale() < 0 ? exact.setScale(0) : exact;
    }
}
