package orderlog

import (
	"context"
	"iter"

	"google.golang.org/grpc"

	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

// Watched is a response of [Client.WatchOrders].
type Watched struct {
	*ordersv1.WatchOrdersResponse
	// First is true for the first response after each connection. It begins the list of the orders
	// that match now, which ends with CaughtUp. Orders of before that are not in it match no longer.
	First bool
}

// WatchOrders yields the orders that match now, then each change to them, until the context ends.
// After a break, it watches on a new connection, and begins with the orders that match then. An
// error that a retry cannot fix ends the sequence.
func (c *Client) WatchOrders(
	ctx context.Context, request *ordersv1.WatchOrdersRequest, options ...StreamOption,
) iter.Seq2[Watched, error] {
	return func(yield func(Watched, error) bool) {
		first := true
		open := func(
			ctx context.Context, conn grpc.ClientConnInterface,
		) (grpc.ServerStreamingClient[ordersv1.WatchOrdersResponse], error) {
			first = true
			return ordersv1.NewQueryServiceClient(conn).WatchOrders(ctx, request)
		}
		for response, err := range streams(ctx, c.settings, streamOptions(options), false, open) {
			if !yield(Watched{response, first}, err) || err != nil {
				return
			}
			first = false
		}
	}
}
