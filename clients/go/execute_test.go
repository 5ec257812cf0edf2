package orderlog_test

import (
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	orderlog "github.com/orderlog/orderlog/clients/go"
	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

func toCreate(id string) *ordersv1.ExecuteCommandsRequest {
	command := &ordersv1.ExecuteCommandsRequest_CreateOrder{CreateOrder: create(id)}
	return &ordersv1.ExecuteCommandsRequest{Command: command}
}

func toShip(id string) *ordersv1.ExecuteCommandsRequest {
	command := &ordersv1.ExecuteCommandsRequest_ShipOrder{ShipOrder: ship(id)}
	return &ordersv1.ExecuteCommandsRequest{Command: command}
}

// creates returns commands that create orders.
func creates(ids ...string) []*ordersv1.ExecuteCommandsRequest {
	var commands []*ordersv1.ExecuteCommandsRequest
	for _, id := range ids {
		commands = append(commands, toCreate(id))
	}
	return commands
}

// executed executes the commands, and returns their outcomes.
func executed(
	t testing.TB, client *orderlog.Client, commands iter.Seq[*ordersv1.ExecuteCommandsRequest],
) []orderlog.Executed {
	t.Helper()
	var all []orderlog.Executed
	for each, err := range client.ExecuteCommands(within(t), commands) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, each)
	}
	return all
}

func TestCommandsOnAStreamAreAnsweredInTheirOrder(t *testing.T) {
	t.Parallel()
	client := serve(t).client()
	all := executed(t, client, slices.Values([]*ordersv1.ExecuteCommandsRequest{
		toCreate("a"), toShip("a"), toShip("nobody"), toCreate("b"), {},
	}))
	equal(t, len(all), 5)
	equal(t, all[0].Reply.GetCreateOrder().GetPosition(), 1)
	equal(t, all[1].Reply.GetShipOrder().GetVersion(), 2)
	equal(t, all[2].Err.Reason, "ORDER_NOT_FOUND")
	equal(t, all[2].Command.GetShipOrder().GetOrderId(), "nobody")
	equal(t, all[3].Reply.GetCreateOrder().GetPosition(), 3)
	equal(t, all[4].Err.Reason, "INVALID_FIELD")
	equal(t, len(executed(t, client, slices.Values(creates()))), 0)
}

func TestG5CommandsOnAStreamHaveOneEffectWhenTheServerIsKilled(t *testing.T) {
	t.Parallel()
	server := serve(t)
	client := server.client()
	commands := func(yield func(*ordersv1.ExecuteCommandsRequest) bool) {
		for number := range 3000 {
			// More than is in flight at a time.
			if number == 1500 {
				server.kill()
				server.start()
			}
			if number == 2500 {
				server.proxy.cut()
			}
			if !yield(toCreate(fmt.Sprintf("o-%d", number))) {
				return
			}
		}
	}
	all := executed(t, client, commands)
	equal(t, len(all), 3000)
	for number, each := range all {
		if each.Err != nil {
			t.Fatal(each.Err)
		}
		equal(t, each.Reply.GetCreateOrder().GetPosition(), uint64(number+1))
	}
	equal(t, head(t, client), 3000)
}

func TestLoopThatEndsEarlyEndsTheStream(t *testing.T) {
	t.Parallel()
	client := serve(t).client()
	ended := make(chan struct{})
	commands := func(yield func(*ordersv1.ExecuteCommandsRequest) bool) {
		defer close(ended)
		for number := 0; yield(toCreate(fmt.Sprintf("o-%d", number))); number++ {
		}
	}
	for _, err := range client.ExecuteCommands(within(t), commands) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	<-ended
}

func TestCommandsAreSentWhileRepliesAreAwaited(t *testing.T) {
	t.Parallel()
	client := serve(t).client()
	replied := make(chan struct{})
	commands := func(yield func(*ordersv1.ExecuteCommandsRequest) bool) {
		if yield(toCreate("a")) {
			// The reply to the first command comes before the second is sent.
			<-replied
			yield(toCreate("b"))
		}
	}
	count := 0
	for _, err := range client.ExecuteCommands(within(t), commands) {
		if err != nil {
			t.Fatal(err)
		}
		if count++; count == 1 {
			close(replied)
		}
	}
	equal(t, count, 2)
}

// overloaded answers the second command of the first stream with OVERLOADED.
type overloaded struct {
	ordersv1.UnimplementedCommandServiceServer
	t       testing.TB
	streams chan []string
	opened  int
}

func (s *overloaded) ExecuteCommands(
	stream grpc.BidiStreamingServer[ordersv1.ExecuteCommandsRequest, ordersv1.ExecuteCommandsResponse],
) error {
	s.opened++
	var ids []string
	defer func() { s.streams <- ids }()
	for {
		request, err := stream.Recv()
		if err != nil {
			return nil
		}
		order := request.GetCreateOrder()
		ids = append(ids, order.GetOrderId()+order.GetRequestId())
		reply := &ordersv1.ExecuteCommandsResponse{Result: &ordersv1.ExecuteCommandsResponse_CreateOrder{
			CreateOrder: &ordersv1.CreateOrderResponse{OrderId: order.GetOrderId()},
		}}
		if s.opened == 1 && len(ids) == 2 {
			failed := status.Convert(fails(s.t, codes.ResourceExhausted, retryIn(time.Microsecond)))
			reply.Result = &ordersv1.ExecuteCommandsResponse_Error{Error: failed.Proto()}
		}
		if err := stream.Send(reply); err != nil {
			return err
		}
	}
}

func TestCommandsAfterARetryableRejectionAreSentAgain(t *testing.T) {
	t.Parallel()
	service := &overloaded{t: t, streams: make(chan []string, 2)}
	target := serveFake(t, func(s *grpc.Server) { ordersv1.RegisterCommandServiceServer(s, service) })
	all := executed(t, connect(t, target), slices.Values(creates("a", "b", "c")))
	var ids []string
	for _, each := range all {
		ids = append(ids, each.Reply.GetCreateOrder().GetOrderId())
	}
	equal(t, fmt.Sprint(ids), "[a b c]")
	first, second := <-service.streams, <-service.streams
	equal(t, len(second), 2)
	equal(t, second[0], first[1])
}
