package orderlog_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	orderlog "github.com/orderlog/orderlog/clients/go"
	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

// fake fails as a test says, and then replies.
type fake struct {
	ordersv1.UnimplementedCommandServiceServer
	lock     sync.Mutex
	failures []error
	ids      []string
}

func (f *fake) CreateOrder(
	_ context.Context, request *ordersv1.CreateOrderRequest,
) (*ordersv1.CreateOrderResponse, error) {
	f.lock.Lock()
	defer f.lock.Unlock()
	f.ids = append(f.ids, request.GetRequestId())
	if len(f.failures) > 0 {
		next := f.failures[0]
		f.failures = f.failures[1:]
		return nil, next
	}
	return &ordersv1.CreateOrderResponse{OrderId: "o"}, nil
}

func (f *fake) ExecuteCommands(
	grpc.BidiStreamingServer[ordersv1.ExecuteCommandsRequest, ordersv1.ExecuteCommandsResponse],
) error {
	f.lock.Lock()
	defer f.lock.Unlock()
	next := f.failures[0]
	f.failures = f.failures[1:]
	return next
}

// serveFake starts a server with services that a test brings, and returns its address.
func serveFake(t testing.TB, register func(*grpc.Server)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	register(server)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func fails(t testing.TB, code codes.Code, details ...protoadapt.MessageV1) error {
	t.Helper()
	failed, err := status.New(code, "as told").WithDetails(details...)
	if err != nil {
		t.Fatal(err)
	}
	return failed.Err()
}

// attempts returns the request ids that arrive, and the error of the call.
func attempts(t testing.TB, failures ...error) ([]string, error) {
	t.Helper()
	service := &fake{failures: failures}
	target := serveFake(t, func(s *grpc.Server) { ordersv1.RegisterCommandServiceServer(s, service) })
	_, err := connect(t, target).Commands.CreateOrder(context.Background(), create(""))
	service.lock.Lock()
	defer service.lock.Unlock()
	return service.ids, err
}

func reason(name string) protoadapt.MessageV1 {
	return protoadapt.MessageV1Of(&errdetails.ErrorInfo{Reason: name})
}

func retryIn(delay time.Duration) protoadapt.MessageV1 {
	return protoadapt.MessageV1Of(&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
}

func TestOutageIsWaitedForWithTheSameRequestID(t *testing.T) {
	t.Parallel()
	ids, err := attempts(t,
		fails(t, codes.Unavailable),
		fails(t, codes.Unavailable, reason("STORE_UNAVAILABLE"), retryIn(time.Microsecond)),
		fails(t, codes.ResourceExhausted, reason("OVERLOADED"), retryIn(time.Microsecond)),
		fails(t, codes.DeadlineExceeded),
		// The server notices the end of the attempt before the client.
		fails(t, codes.DeadlineExceeded, reason("DEADLINE_EXCEEDED")),
		// A connection that breaks during a reply may end with these codes.
		fails(t, codes.Internal),
		fails(t, codes.Canceled),
	)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, len(ids), 8)
	for _, id := range ids {
		equal(t, id, ids[0])
	}
	equal(t, len(ids[0]), 36)
	equal(t, ids[0][14], '7')
}

func TestContextEndsTheWaitForARetry(t *testing.T) {
	t.Parallel()
	calls := map[string]func(context.Context, *orderlog.Client) error{
		"call": func(ctx context.Context, client *orderlog.Client) error {
			_, err := client.Commands.CreateOrder(ctx, create(""))
			return err
		},
		"stream": func(ctx context.Context, client *orderlog.Client) (err error) {
			for _, err = range client.ExecuteCommands(ctx, slices.Values(creates("a"))) {
			}
			return err
		},
	}
	for name, call := range calls {
		service := &fake{failures: []error{fails(t, codes.Unavailable, retryIn(time.Hour))}}
		target := serveFake(t, func(s *grpc.Server) { ordersv1.RegisterCommandServiceServer(s, service) })
		client := connect(t, target, orderlog.WithPatience(2*time.Hour))
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(100*time.Millisecond, cancel)
		err := call(ctx, client)
		if !errors.Is(err, context.Canceled) || failure(t, err).Code != codes.Canceled {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRetryWaitsAsLongAsTheServerSays(t *testing.T) {
	t.Parallel()
	ids, err := attempts(t, fails(t, codes.Unavailable, retryIn(time.Hour)))
	equal(t, len(ids), 1)
	equal(t, failure(t, err).RetryAfter, time.Hour)
}

func TestFinalErrorIsNotRetried(t *testing.T) {
	t.Parallel()
	for _, final := range []error{
		fails(t, codes.InvalidArgument, reason("INVALID_FIELD")),
		fails(t, codes.Aborted, reason("VERSION_MISMATCH")),
		fails(t, codes.DeadlineExceeded, reason("READ_MODEL_BEHIND")),
		fails(t, codes.ResourceExhausted),
		fails(t, codes.Internal, reason("INTERNAL")),
	} {
		ids, err := attempts(t, final)
		equal(t, len(ids), 1)
		equal(t, failure(t, err).Code, status.Code(final))
	}
}
