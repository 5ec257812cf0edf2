package orderlog_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

func TestWatcherHasTheOrdersThatMatchAcrossARestart(t *testing.T) {
	t.Parallel()
	server := serve(t)
	client := server.client()
	created(t, client, "a")
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	open := ordersv1.OrderStatus_ORDER_STATUS_CREATED
	watched := map[string]uint64{}
	restarts := 0
	step := 0
	request := &ordersv1.WatchOrdersRequest{Statuses: []ordersv1.OrderStatus{open}}
	for response, err := range client.WatchOrders(ctx, request) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			break
		}
		if response.First {
			restarts++
			watched = map[string]uint64{}
		}
		for _, order := range response.GetOrders() {
			watched[order.GetOrderId()] = order.GetVersion()
		}
		for _, id := range response.GetLeftOrderIds() {
			delete(watched, id)
		}
		switch now := fmt.Sprint(slices.Sorted(maps.Keys(watched))); {
		case step == 0 && now == "[a]":
			step++
			created(t, client, "b")
		case step == 1 && now == "[a b]":
			step++
			server.kill()
			server.start()
			if _, err := client.Commands.ShipOrder(within(t), ship("a")); err != nil {
				t.Fatal(err)
			}
		case step == 2 && restarts == 2 && now == "[b]":
			step++
			cancel()
		}
	}
	equal(t, step, 3)
	equal(t, restarts, 2)
}

func TestWatcherEndsWithAFinalError(t *testing.T) {
	t.Parallel()
	client := serve(t).client()
	request := &ordersv1.WatchOrdersRequest{OrderIds: []string{"no good"}}
	for _, err := range client.WatchOrders(within(t), request) {
		equal(t, failure(t, err).Reason, "INVALID_FIELD")
	}
}
