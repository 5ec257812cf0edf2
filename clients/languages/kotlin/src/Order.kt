import com.google.type.Money
import com.orderlog.orders.v1.CommandServiceGrpcKt.CommandServiceCoroutineStub
import com.orderlog.orders.v1.createOrderItem
import com.orderlog.orders.v1.createOrderRequest
import io.grpc.ManagedChannelBuilder
import kotlinx.coroutines.runBlocking

/** Creates an order, and prints its position: the first argument is the server's ADDRESS:PORT. */
fun main(arguments: Array<String>) = runBlocking {
    val channel = ManagedChannelBuilder.forTarget(arguments[0]).usePlaintext().build()
    val request = createOrderRequest {
        customerId = "ann"
        items += createOrderItem {
            productId = "tea"
            quantity = 2
            unitPrice = Money.newBuilder().setCurrencyCode("EUR").setUnits(12).setNanos(500_000_000).build()
        }
    }
    println("position ${CommandServiceCoroutineStub(channel).createOrder(request).position}")
    channel.shutdownNow()
    Unit
}
