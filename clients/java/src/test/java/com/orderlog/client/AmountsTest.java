package com.orderlog.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.type.Money;
import java.math.BigDecimal;
import java.util.UUID;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Tests amounts and request ids. */
class AmountsTest {
    @ParameterizedTest
    @ValueSource(strings = {"0", "12.5", "100", "-0.0001", "-7.25", "922337203685477.5807"})
    void moneyIsExact(String text) {
        Money made = Amounts.money("EUR", new BigDecimal(text));
        assertEquals(text, Amounts.amount(made).toString());
        assertTrue(Long.signum(made.getUnits()) * made.getNanos() >= 0, "both have the same sign");
    }

    @Test
    void moneyIsNotRounded() {
        var tooFine = new BigDecimal("0.0000000001");
        assertThrows(ArithmeticException.class, () -> Amounts.money("EUR", tooFine));
        var tooLarge = new BigDecimal("9223372036854775808");
        assertThrows(ArithmeticException.class, () -> Amounts.money("EUR", tooLarge));
        assertEquals(
                new BigDecimal("1.000000001"),
                Amounts.amount(Money.newBuilder().setUnits(1).setNanos(1).build()));
    }

    @Test
    void requestIdsAreVersion7AndSortByTime() {
        long before = System.currentTimeMillis();
        var times = Stream.generate(Requests::uuid7).limit(100).map(AmountsTest::time).toList();
        assertEquals(times.stream().sorted().toList(), times);
        assertTrue(times.get(0) >= before);
    }

    private static long time(UUID id) {
        assertEquals(7, id.version());
        assertEquals(2, id.variant());
        return id.getMostSignificantBits() >>> 16;
    }
}
