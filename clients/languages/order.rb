# Creates an order, and prints its position: `ruby -I gen/ruby order.rb ADDRESS:PORT`.
require "orders/v1/command_service_services_pb"

V1 = Orderlog::Orders::V1
price = Google::Type::Money.new(currency_code: "EUR", units: 12, nanos: 500_000_000)
item = V1::CreateOrderItem.new(product_id: "tea", quantity: 2, unit_price: price)
commands = V1::CommandService::Stub.new(ARGV.fetch(0), :this_channel_is_insecure)
created = commands.create_order(V1::CreateOrderRequest.new(customer_id: "ann", items: [item]))
puts "position #{created.position}"
