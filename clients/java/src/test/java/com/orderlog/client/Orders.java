package com.orderlog.client;

import com.orderlog.orders.v1.CancelOrderRequest;
import com.orderlog.orders.v1.CommandServiceGrpc;
import com.orderlog.orders.v1.CreateOrderItem;
import com.orderlog.orders.v1.CreateOrderRequest;
import com.orderlog.orders.v1.CreateOrderResponse;
import com.orderlog.orders.v1.EventServiceGrpc;
import com.orderlog.orders.v1.GetHeadRequest;
import com.orderlog.orders.v1.ShipOrderRequest;
import java.math.BigDecimal;

/** The orders of the tests. */
final class Orders {
    private Orders() {}

    static CreateOrderRequest.Builder order(String id) {
        return CreateOrderRequest.newBuilder()
                .setOrderId(id)
                .setCustomerId("ann")
                .addItems(
                        CreateOrderItem.newBuilder()
                                .setProductId("tea")
                                .setQuantity(2)
                                .setUnitPrice(Amounts.money("EUR", new BigDecimal("12.50"))));
    }

    static CreateOrderResponse create(Orderlog orderlog, String id) {
        return orderlog.call(CommandServiceGrpc.getCreateOrderMethod(), order(id).build());
    }

    static ShipOrderRequest.Builder shipping(String id) {
        return ShipOrderRequest.newBuilder()
                .setOrderId(id)
                .setShippingAddress("1 Harbour Street")
                .setTrackingNumber("T-1");
    }

    static CancelOrderRequest cancelling(String id) {
        return CancelOrderRequest.newBuilder().setOrderId(id).setReason("changed my mind").build();
    }

    static long head(Orderlog orderlog) {
        return orderlog.call(
                        EventServiceGrpc.getGetHeadMethod(), GetHeadRequest.getDefaultInstance())
                .getPosition();
    }
}
