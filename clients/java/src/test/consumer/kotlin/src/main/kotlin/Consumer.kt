import com.orderlog.client.Amounts
import com.orderlog.client.Orderlog
import com.orderlog.client.OrderlogException
import com.orderlog.client.Position
import com.orderlog.client.Store
import com.orderlog.orders.v1.CommandServiceGrpc.getCreateOrderMethod
import com.orderlog.orders.v1.CommandServiceGrpc.getShipOrderMethod
import com.orderlog.orders.v1.CreateOrderItem
import com.orderlog.orders.v1.CreateOrderRequest
import com.orderlog.orders.v1.ShipOrderRequest
import com.orderlog.orders.v1.SubscribeResponse

/** Prints each event. */
class Board : Store {
    private var place = Position.START

    override fun position(): Position = place

    override fun apply(response: SubscribeResponse, after: Position): Boolean {
        response.eventsList.forEach { println("${it.position} ${it.aggregateId} ${it.payloadCase}") }
        place = Position.after(response)
        return true
    }
}

fun main(arguments: Array<String>) {
    Orderlog.connect(arguments[0]).use { orderlog ->
        val tea = CreateOrderItem.newBuilder().setProductId("tea").setQuantity(2)
        tea.unitPrice = Amounts.money("EUR", "12.50".toBigDecimal())
        val order = CreateOrderRequest.newBuilder().setCustomerId("ann").addItems(tea).build()
        val created = orderlog.call(getCreateOrderMethod(), order)
        val shipment =
            ShipOrderRequest.newBuilder()
                .setOrderId(created.orderId)
                .setShippingAddress("1 Harbour Street, Münster")
                .setTrackingNumber("T-4711")
                .build()
        val shipped = orderlog.call(getShipOrderMethod(), shipment)
        try {
            orderlog.call(getShipOrderMethod(), shipment)
        } catch (refused: OrderlogException) {
            println("refused: ${refused.reason()}")
        }
        orderlog.subscriber(Board()).runUntil(shipped.position)
    }
}
