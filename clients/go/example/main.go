// An order board: `go run ./example [ADDRESS:PORT]` creates an order, and prints each event of the
// log until Ctrl-C.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/shopspring/decimal"

	orderlog "github.com/orderlog/orderlog/clients/go"
	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

func main() {
	target := "127.0.0.1:50051"
	if len(os.Args) > 1 {
		target = os.Args[1]
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := board(ctx, target); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func board(ctx context.Context, target string) error {
	client, err := orderlog.New(target)
	if err != nil {
		return err
	}
	defer client.Close()
	price, err := orderlog.Money("EUR", decimal.RequireFromString("12.50"))
	if err != nil {
		return err
	}
	created, err := client.Commands.CreateOrder(ctx, &ordersv1.CreateOrderRequest{
		CustomerId: "ann",
		Items:      []*ordersv1.CreateOrderItem{{ProductId: "tea", Quantity: 2, UnitPrice: price}},
	})
	if err != nil {
		return err
	}
	fmt.Println("created", created.GetOrderId())
	for response, err := range client.Subscribe(ctx, &ordersv1.SubscribeRequest{Follow: true}) {
		if err != nil {
			return err
		}
		for _, event := range response.GetEvents() {
			fmt.Printf("%d %s %T\n", event.GetPosition(), event.GetAggregateId(), event.GetPayload())
		}
	}
	return nil
}
