package orderlog

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

const (
	// maxInFlightBytes bounds the commands that are sent and not answered, which are kept for a retry.
	maxInFlightBytes = 4 << 20
	// maxInFlight bounds their number: a command counts for at least its share of the bytes.
	maxInFlight = 1024
)

// Executed is a command with its reply, or with the error that rejected it.
type Executed struct {
	Command *ordersv1.ExecuteCommandsRequest
	// Reply is nil if the server rejected the command.
	Reply *ordersv1.ExecuteCommandsResponse
	// Err is nil if the server accepted the command.
	Err *Error
}

// ExecuteCommands executes commands on one stream, with up to 1024 or 4 MiB of them in flight. It
// yields each command in the order sent. It adds a request id to a command that has none.
//
// After a break, it sends the unanswered commands once more. So it does after a command that fails
// with a retryable error, because later commands may depend on that one. It gives up without a reply
// within the deadline of the context or else the client's patience. That error ends the sequence.
//
// The commands are read in a goroutine of its own, which ends with them, or at the next command
// after the loop has ended.
func (c *Client) ExecuteCommands(
	ctx context.Context, commands iter.Seq[*ordersv1.ExecuteCommandsRequest],
) iter.Seq2[Executed, error] {
	return func(yield func(Executed, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		p := &pipeline{
			client: c,
			queue:  make(chan *ordersv1.ExecuteCommandsRequest),
			window: semaphore.NewWeighted(maxInFlightBytes),
		}
		go p.fetch(ctx, commands)
		p.run(ctx, yield)
	}
}

// pipeline keeps the commands that are not answered yet.
type pipeline struct {
	client *Client
	queue  chan *ordersv1.ExecuteCommandsRequest
	window *semaphore.Weighted

	lock    sync.Mutex
	pending []*ordersv1.ExecuteCommandsRequest
}

// fetch puts the commands into the queue as the window allows.
func (p *pipeline) fetch(ctx context.Context, commands iter.Seq[*ordersv1.ExecuteCommandsRequest]) {
	defer close(p.queue)
	for command := range commands {
		command = withInnerRequestID(command)
		if p.window.Acquire(ctx, weight(command)) != nil {
			return
		}
		select {
		case p.queue <- command:
		case <-ctx.Done():
			return
		}
	}
}

// run executes over as many streams as needed.
func (p *pipeline) run(ctx context.Context, yield func(Executed, error) bool) {
	settings := p.client.settings
	var waits backoff
	// until is the end of retries, counted from the first failure after a reply.
	var until time.Time
	answered := func(executed Executed) bool {
		waits, until = backoff{}, time.Time{}
		return yield(executed, nil)
	}
	for {
		began := time.Now()
		err := p.stream(ctx, answered)
		if err == nil || errors.Is(err, errStopped) {
			return
		}
		if until.IsZero() || time.Since(began) > settings.patience {
			until = settings.until(ctx)
		}
		if err := pause(ctx, err, &waits, until); err != nil {
			yield(Executed{}, err)
			return
		}
	}
}

// errStopped says that the caller wants no more.
var errStopped = errors.New("stopped by the caller")

// stream sends all pending commands and the queue on one stream, and receives the replies.
func (p *pipeline) stream(ctx context.Context, answered func(Executed) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := p.client.Commands.ExecuteCommands(ctx)
	if err != nil {
		cancel()
		return err
	}
	var sentAll bool
	var sending sync.WaitGroup
	sending.Go(func() { sentAll = p.send(ctx, stream) })
	// The next stream must not begin before this one sends no more.
	stop := func() { cancel(); sending.Wait() }
	defer stop()
	for {
		reply, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if stop(); sentAll && p.first() == nil {
				return nil
			}
			return statusError(status.New(codes.Unavailable, "the stream ended before all replies"))
		}
		if err != nil {
			return err
		}
		if err := p.received(reply, answered); err != nil {
			return err
		}
	}
}

// received passes on the reply to the oldest pending command.
func (p *pipeline) received(reply *ordersv1.ExecuteCommandsResponse, answered func(Executed) bool) error {
	executed := Executed{Command: p.first(), Reply: reply}
	if executed.Command == nil {
		return errors.New("the server answered more commands than were sent")
	}
	if rejected := reply.GetError(); rejected != nil {
		executed.Reply, executed.Err = nil, statusError(status.FromProto(rejected))
		if executed.Err.Retryable() {
			return executed.Err
		}
	}
	p.removeFirst()
	p.window.Release(weight(executed.Command))
	if !answered(executed) {
		return errStopped
	}
	return nil
}

// send sends the pending commands, then those of the queue. It returns true after the last. The
// receiver gets the error of a broken stream.
func (p *pipeline) send(
	ctx context.Context,
	stream grpc.BidiStreamingClient[ordersv1.ExecuteCommandsRequest, ordersv1.ExecuteCommandsResponse],
) bool {
	p.lock.Lock()
	pending := slices.Clone(p.pending)
	p.lock.Unlock()
	for _, command := range pending {
		if stream.Send(command) != nil {
			return false
		}
	}
	for {
		select {
		case command, ok := <-p.queue:
			if !ok {
				return stream.CloseSend() == nil
			}
			p.lock.Lock()
			p.pending = append(p.pending, command)
			p.lock.Unlock()
			if stream.Send(command) != nil {
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
}

// first returns the oldest pending command, or nil.
func (p *pipeline) first() *ordersv1.ExecuteCommandsRequest {
	p.lock.Lock()
	defer p.lock.Unlock()
	if len(p.pending) == 0 {
		return nil
	}
	return p.pending[0]
}

func (p *pipeline) removeFirst() {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.pending[0] = nil
	p.pending = p.pending[1:]
}

// weight returns a command's part of the window.
func weight(command *ordersv1.ExecuteCommandsRequest) int64 {
	return min(max(int64(proto.Size(command)), maxInFlightBytes/maxInFlight), maxInFlightBytes)
}

// withInnerRequestID returns the command, or a copy with a new request id if it has an empty one.
func withInnerRequestID(command *ordersv1.ExecuteCommandsRequest) *ordersv1.ExecuteCommandsRequest {
	outer := command.ProtoReflect()
	field := outer.WhichOneof(outer.Descriptor().Oneofs().ByName("command"))
	if field == nil {
		return command
	}
	inner := outer.Get(field).Message().Interface()
	identified := withRequestID(inner)
	if identified == inner {
		return command
	}
	copied := &ordersv1.ExecuteCommandsRequest{}
	copied.ProtoReflect().Set(field, protoreflect.ValueOfMessage(identified.ProtoReflect()))
	copied.ProtoReflect().SetUnknown(outer.GetUnknown())
	return copied
}
