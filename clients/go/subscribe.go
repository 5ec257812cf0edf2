package orderlog

import (
	"context"
	"errors"
	"iter"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

// Subscribe yields the events of the log, in batches, without loss or repetition. After a break, it
// resumes with the resume token of the last response, on a new connection.
//
// With Follow, the sequence goes on until the context ends; else it ends at the head of the log. An
// error ends it: a [*HistoryError] if the log no longer has the events that were seen.
//
// A rejected token is an error, unless [WithTokenSource] can return another one later.
func (c *Client) Subscribe(
	ctx context.Context, request *ordersv1.SubscribeRequest, options ...StreamOption,
) iter.Seq2[*ordersv1.SubscribeResponse, error] {
	return c.subscribe(ctx, request, streamOptions(options))
}

func (c *Client) subscribe(
	ctx context.Context, from *ordersv1.SubscribeRequest, options *streaming,
) iter.Seq2[*ordersv1.SubscribeResponse, error] {
	return func(yield func(*ordersv1.SubscribeResponse, error) bool) {
		request := proto.CloneOf(from)
		isCaughtUp := false
		caughtUp := func(is bool) {
			if is != isCaughtUp {
				isCaughtUp = is
				options.onCaughtUp(is)
			}
		}
		defer caughtUp(false)
		open := func(
			ctx context.Context, conn grpc.ClientConnInterface,
		) (grpc.ServerStreamingClient[ordersv1.SubscribeResponse], error) {
			caughtUp(false)
			return ordersv1.NewEventServiceClient(conn).Subscribe(ctx, request)
		}
		for response, err := range streams(ctx, c.settings, options, !from.GetFollow(), open) {
			if !yield(response, err) || err != nil {
				return
			}
			request.ResumeToken = response.GetResumeToken()
			request.AfterPosition, request.LogId = 0, ""
			caughtUp(response.GetCaughtUp())
		}
	}
}

// Position is a place in the log: a store has every event up to it.
type Position struct {
	LogID    string
	Position uint64
	// ResumeToken names the position and its event. It is empty at first, and after a rewind.
	ResumeToken string
}

// Store holds the results of events, and their position.
type Store interface {
	// Position returns the position to resume after; at first, the zero value.
	Position(context.Context) (Position, error)
	// Apply applies the events after a position, and stores the new position, in one transaction. It
	// returns false and changes nothing if the store is no longer at the position, because another
	// subscriber has moved it.
	Apply(ctx context.Context, after Position, response *ordersv1.SubscribeResponse) (bool, error)
}

// PositionOf returns the position of a response.
func PositionOf(response *ordersv1.SubscribeResponse) Position {
	return Position{response.GetLogId(), response.GetPosition(), response.GetResumeToken()}
}

// Follow applies the events of the log to a store until the context ends, or an error that a retry
// cannot fix. It then returns that error: a [*HistoryError] if the log no longer has the events of
// the store. Undo these, for example with [SQLStore.Rewind], and follow again.
//
// A nil filter selects all events.
func (c *Client) Follow(
	ctx context.Context, store Store, filter *ordersv1.EventFilter, options ...StreamOption,
) error {
	var waits backoff
	for {
		moved, err := c.follow(ctx, store, filter, streamOptions(options))
		if err != nil {
			return err
		}
		if moved {
			waits = backoff{}
		}
		// Another subscriber has moved the store.
		if err := sleep(ctx, waits.next()); err != nil {
			return err
		}
	}
}

// follow follows until another subscriber moves the store. It reports whether it moved the store
// itself before.
func (c *Client) follow(
	ctx context.Context, store Store, filter *ordersv1.EventFilter, options *streaming,
) (moved bool, err error) {
	position, err := store.Position(ctx)
	if err != nil {
		return false, err
	}
	request := &ordersv1.SubscribeRequest{Filter: filter, Follow: true, ResumeToken: position.ResumeToken}
	if position.ResumeToken == "" {
		request.AfterPosition, request.LogId = position.Position, position.LogID
	}
	for response, err := range c.subscribe(ctx, request, options) {
		if err != nil {
			return moved, err
		}
		applied, err := store.Apply(ctx, position, response)
		if err != nil || !applied {
			return moved, err
		}
		position, moved = PositionOf(response), true
	}
	return moved, errors.New("the subscription ended without an error")
}
