// A project that uses the module as its users do: it creates, ships and follows an order.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/shopspring/decimal"

	orderlog "github.com/orderlog/orderlog/clients/go"
	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := trade(ctx, os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func trade(ctx context.Context, target string) error {
	client, err := orderlog.New(target)
	if err != nil {
		return err
	}
	defer client.Close()
	price, err := orderlog.Money("EUR", decimal.New(1250, -2))
	if err != nil {
		return err
	}
	items := []*ordersv1.CreateOrderItem{{ProductId: "tea", Quantity: 2, UnitPrice: price}}
	create := &ordersv1.CreateOrderRequest{OrderId: "o", CustomerId: "ann", Items: items}
	if _, err := client.Commands.CreateOrder(ctx, create); err != nil {
		return err
	}
	ship := &ordersv1.ShipOrderRequest{
		OrderId: "o", ShippingAddress: "1 Harbour Street", TrackingNumber: "T-1",
	}
	if _, err := client.Commands.ShipOrder(ctx, ship); err != nil {
		return err
	}
	for response, err := range client.Subscribe(ctx, &ordersv1.SubscribeRequest{Follow: true}) {
		if err != nil {
			return err
		}
		for _, event := range response.GetEvents() {
			fmt.Printf("%d %s %T\n", event.GetPosition(), event.GetAggregateId(), event.GetPayload())
			if event.GetOrderShipped() != nil {
				return nil
			}
		}
	}
	return nil
}
