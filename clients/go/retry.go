package orderlog

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
)

// defaultMaxWait is the server's, for a query without MaxWait.
const defaultMaxWait = 5 * time.Second

// unary retries a call until the server replies.
func (s *settings) unary(
	ctx context.Context, method string, request, reply any, conn *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption,
) error {
	sent := request
	limit := s.answerWithin
	if message, ok := request.(proto.Message); ok {
		sent = withRequestID(message)
		limit += maxWait(message)
	}
	ctx = withTrace(ctx)
	until := s.until(ctx)
	var waits backoff
	for {
		err := attempt(ctx, limit, func(ctx context.Context) error {
			return invoke(ctx, method, sent, reply, conn, options...)
		})
		if err == nil {
			return nil
		}
		if err := pause(ctx, callError(ctx, err), &waits, until); err != nil {
			return err
		}
	}
}

// pause waits before a retry. It returns err if a retry cannot help or would come after until, but if
// the context has ended meanwhile, that is the error.
func pause(ctx context.Context, err error, waits *backoff, until time.Time) error {
	wait, ok := retryAfter(err, waits)
	if !ok || ctx.Err() == nil && time.Now().Add(wait).After(until) {
		return err
	}
	if ended := sleep(ctx, wait); ended != nil {
		return callError(ctx, status.FromContextError(ended).Err())
	}
	return nil
}

// until returns the time at which retries end.
func (s *settings) until(ctx context.Context) time.Time {
	if deadline, ok := ctx.Deadline(); ok {
		return deadline
	}
	return time.Now().Add(s.patience)
}

// attempt calls once, within a limit.
func attempt(ctx context.Context, limit time.Duration, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return call(ctx)
}

// retryAfter returns the time to wait before a retry, and false if a retry cannot help.
func retryAfter(err error, waits *backoff) (time.Duration, bool) {
	var failed *Error
	if !errors.As(err, &failed) || !(failed.Retryable() || failed.Unanswered()) {
		return 0, false
	}
	return max(waits.next(), failed.RetryAfter), true
}

// withRequestID returns the message, or a copy with a new request id if it has an empty one. The ids
// sort by time, because random ids make the log slower.
func withRequestID(message proto.Message) proto.Message {
	field := message.ProtoReflect().Descriptor().Fields().ByName("request_id")
	if field == nil || message.ProtoReflect().Get(field).String() != "" {
		return message
	}
	copied := proto.Clone(message)
	// The source of random numbers does not fail: Go ends the program first.
	copied.ProtoReflect().Set(field, protoreflect.ValueOfString(uuid.Must(uuid.NewV7()).String()))
	return copied
}

// maxWait returns the time that the server may wait for its read model.
func maxWait(message proto.Message) time.Duration {
	query, ok := message.(interface{ GetMaxWait() *durationpb.Duration })
	switch {
	case !ok:
		return 0
	case query.GetMaxWait() == nil:
		return defaultMaxWait
	default:
		return query.GetMaxWait().AsDuration()
	}
}
