package orderlog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// heartbeat is the longest time between two responses of a live stream.
const heartbeat = 10 * time.Second

var (
	errSilent = errors.New("the stream is silent")
	errEnded  = errors.New("the stream ended")
)

// StreamOption changes how Subscribe, Follow and WatchOrders go on after a break.
type StreamOption func(*streaming)

// streaming are the options of a stream.
type streaming struct {
	silence    time.Duration
	onBroken   func(error)
	onCaughtUp func(bool)
}

// WithSilence leaves a connection that delivers nothing for this time. The default is 30 s, three
// heartbeats. The time in which the caller works on a response does not count.
func WithSilence(limit time.Duration) StreamOption {
	return func(s *streaming) { s.silence = limit }
}

// OnBroken calls a function at each break, before the next connection.
func OnBroken(report func(error)) StreamOption {
	return func(s *streaming) { s.onBroken = report }
}

// OnCaughtUp calls a function with true at the head of the log, and with false when the stream lags
// or breaks.
func OnCaughtUp(report func(bool)) StreamOption {
	return func(s *streaming) { s.onCaughtUp = report }
}

func streamOptions(options []StreamOption) *streaming {
	s := &streaming{silence: 3 * heartbeat, onBroken: func(error) {}, onCaughtUp: func(bool) {}}
	for _, option := range options {
		option(s)
	}
	return s
}

// opener opens a stream.
type opener[T any] func(context.Context, grpc.ClientConnInterface) (grpc.ServerStreamingClient[T], error)

// streams yields the responses of one stream after the other. It ends with an error that a retry
// cannot fix, with the context's error, or without one when a stream ends and mayEnd.
func streams[T any](
	ctx context.Context, client *settings, options *streaming, mayEnd bool, open opener[T],
) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		var waits backoff
		for {
			broken := errEnded
			for response, err := range oneStream(ctx, client, options.silence, open) {
				if err != nil {
					broken = err
					break
				}
				waits = backoff{}
				if !yield(response, nil) {
					return
				}
			}
			if broken == errEnded && mayEnd {
				return
			}
			if !client.mayPass(broken) {
				yield(nil, broken)
				return
			}
			if ctx.Err() == nil {
				options.onBroken(broken)
			}
			wait := waits.next()
			var failed *Error
			if errors.As(broken, &failed) {
				wait = max(wait, failed.RetryAfter)
			}
			if err := sleep(ctx, wait); err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// oneStream yields the responses of one stream, and its error. It has a connection of its own,
// because a call on a lost connection fails too.
func oneStream[T any](
	ctx context.Context, client *settings, silence time.Duration, open opener[T],
) iter.Seq2[*T, error] {
	return func(yield func(*T, error) bool) {
		conn, err := client.dial()
		if err != nil {
			yield(nil, err)
			return
		}
		defer conn.Close()
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		timer := time.AfterFunc(silence, func() { cancel(fmt.Errorf("%w for %s", errSilent, silence)) })
		defer timer.Stop()
		stream, err := open(ctx, conn)
		for err == nil {
			var response *T
			timer.Reset(silence)
			response, err = stream.Recv()
			if timer.Stop(); err == nil && !yield(response, nil) {
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
		case errors.Is(context.Cause(ctx), errSilent):
			yield(nil, context.Cause(ctx))
		default:
			yield(nil, err)
		}
	}
}

// mayPass reports whether a new stream may succeed after an error.
func (s *settings) mayPass(err error) bool {
	if errors.Is(err, errSilent) || errors.Is(err, errEnded) {
		return true
	}
	var lost *HistoryError
	var failed *Error
	if errors.As(err, &lost) || !errors.As(err, &failed) {
		return false
	}
	switch failed.Code {
	case codes.Unauthenticated, codes.PermissionDenied:
		return s.token != nil && !s.isFixedToken
	case codes.Internal:
		// With a reason, the server may be unable to read a newer event yet.
		return true
	default:
		return failed.Retryable() || failed.Unanswered()
	}
}
