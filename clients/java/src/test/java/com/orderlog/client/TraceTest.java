package com.orderlog.client;

import static com.orderlog.client.Orders.create;
import static com.orderlog.client.Orders.order;
import static com.orderlog.orders.v1.CommandServiceGrpc.getCreateOrderMethod;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.orderlog.orders.v1.EventServiceGrpc;
import com.orderlog.orders.v1.ExecuteCommandsRequest;
import com.orderlog.orders.v1.GetOrderHistoryRequest;
import com.orderlog.orders.v1.RecordedEvent;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.TraceFlags;
import io.opentelemetry.api.trace.TraceState;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Context;
import java.util.HashMap;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** Tests the headers that join an event to the caller's trace and cause. */
class TraceTest extends ServerTest {
    private static final String TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";

    private static Map<String, String> headers() {
        Map<String, String> headers = new HashMap<>();
        W3CTraceContextPropagator.getInstance().inject(Context.current(), headers, Map::put);
        headers.put("x-correlation-id", "basket-7");
        return headers;
    }

    @Test
    void eventsKeepTheTraceOfTheCaller() throws Exception {
        Span span =
                Span.wrap(
                        SpanContext.create(
                                TRACE,
                                "00f067aa0ba902b7",
                                TraceFlags.getSampled(),
                                TraceState.getDefault()));
        // The first attempt fails. The retry is on another thread, with the same headers.
        server.kill();
        try (Orderlog traced =
                        Orderlog.builder(server.target()).headers(TraceTest::headers).build();
                var scope = span.makeCurrent()) {
            var call = traced.callAsync(getCreateOrderMethod(), order("o").build());
            server.start();
            call.join();
            var command = ExecuteCommandsRequest.newBuilder().setCreateOrder(order("p")).build();
            traced.executeAll(Stream.of(command)).forEach(result -> {});
        }
        create(orderlog, "untraced");
        for (String id : new String[] {"o", "p"}) {
            assertEquals(TRACE, event(id).getTraceparent().split("-")[1]);
            assertEquals("basket-7", event(id).getCorrelationId());
        }
        assertEquals("", event("untraced").getCorrelationId());
    }

    private RecordedEvent event(String id) {
        var request = GetOrderHistoryRequest.newBuilder().setOrderId(id).build();
        return orderlog.call(EventServiceGrpc.getGetOrderHistoryMethod(), request).getEvents(0);
    }
}
