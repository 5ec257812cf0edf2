import static com.orderlog.orders.v1.CommandServiceGrpc.getCreateOrderMethod;
import static com.orderlog.orders.v1.CommandServiceGrpc.getShipOrderMethod;

import com.orderlog.client.Amounts;
import com.orderlog.client.Orderlog;
import com.orderlog.client.Position;
import com.orderlog.client.Store;
import com.orderlog.orders.v1.CreateOrderItem;
import com.orderlog.orders.v1.CreateOrderRequest;
import com.orderlog.orders.v1.RecordedEvent;
import com.orderlog.orders.v1.ShipOrderRequest;
import com.orderlog.orders.v1.SubscribeResponse;
import java.math.BigDecimal;

/** Creates and ships an order, and prints each event of the log until the shipment. */
public final class OrderBoard {
    public static void main(String[] arguments) {
        String target = arguments.length > 0 ? arguments[0] : "127.0.0.1:50051";
        try (Orderlog orderlog = Orderlog.connect(target)) {
            var tea = CreateOrderItem.newBuilder().setProductId("tea").setQuantity(2);
            tea.setUnitPrice(Amounts.money("EUR", new BigDecimal("12.50")));
            var order = CreateOrderRequest.newBuilder().setCustomerId("ann").addItems(tea);
            var created = orderlog.call(getCreateOrderMethod(), order.build());
            var shipment = ShipOrderRequest.newBuilder().setOrderId(created.getOrderId());
            shipment.setShippingAddress("1 Harbour Street, Münster").setTrackingNumber("T-4711");
            var shipped = orderlog.call(getShipOrderMethod(), shipment.build());
            orderlog.subscriber(new Board()).runUntil(shipped.getPosition());
        }
    }

    /** Prints events. A board that must remember them keeps them in a JdbcStore. */
    private static final class Board implements Store {
        private Position position = Position.START;

        @Override
        public Position position() {
            return position;
        }

        @Override
        public boolean apply(SubscribeResponse response, Position after) {
            for (RecordedEvent it : response.getEventsList()) {
                System.out.println(
                        it.getPosition() + " " + it.getAggregateId() + " " + it.getPayloadCase());
            }
            position = Position.after(response);
            return true;
        }
    }
}
