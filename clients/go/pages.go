package orderlog

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

// Orders yields the orders that match, from all pages. An error ends the sequence.
func (c *Client) Orders(ctx context.Context, search *ordersv1.SearchOrdersRequest) iter.Seq2[*ordersv1.Order, error] {
	page := proto.CloneOf(search)
	return pages(func() ([]*ordersv1.Order, string, error) {
		found, err := c.Queries.SearchOrders(ctx, page)
		page.PageToken = found.GetNextPageToken()
		return found.GetOrders(), page.PageToken, err
	})
}

// Days yields the statistics of each day that has orders, from all pages. An error ends the sequence.
func (c *Client) Days(
	ctx context.Context, request *ordersv1.GetStatisticsRequest,
) iter.Seq2[*ordersv1.DayStatistics, error] {
	page := proto.CloneOf(request)
	page.ByDay = true
	return pages(func() ([]*ordersv1.DayStatistics, string, error) {
		found, err := c.Queries.GetStatistics(ctx, page)
		page.PageToken = found.GetNextPageToken()
		return found.GetDays(), page.PageToken, err
	})
}

// Parked yields the parked orders, from all pages. An error ends the sequence.
func (c *Client) Parked(
	ctx context.Context, request *ordersv1.ListParkedRequest,
) iter.Seq2[*ordersv1.ParkedAggregate, error] {
	page := proto.CloneOf(request)
	return pages(func() ([]*ordersv1.ParkedAggregate, string, error) {
		found, err := c.Projections.ListParked(ctx, page)
		page.PageToken = found.GetNextPageToken()
		return found.GetParked(), page.PageToken, err
	})
}

// pages yields the entries of one page after the other, until a page has no token of the next.
func pages[T any](next func() ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			entries, token, err := next()
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, entry := range entries {
				if !yield(entry, nil) {
					return
				}
			}
			if token == "" {
				return
			}
		}
	}
}
