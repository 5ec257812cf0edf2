package orderlog_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"google.golang.org/genproto/googleapis/type/money"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	orderlog "github.com/orderlog/orderlog/clients/go"
	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

func create(id string) *ordersv1.CreateOrderRequest {
	price := &money.Money{CurrencyCode: "EUR", Units: 12, Nanos: 500_000_000}
	item := &ordersv1.CreateOrderItem{ProductId: "tea", Quantity: 2, UnitPrice: price}
	return &ordersv1.CreateOrderRequest{
		OrderId: id, CustomerId: "ann", Items: []*ordersv1.CreateOrderItem{item},
	}
}

func ship(id string) *ordersv1.ShipOrderRequest {
	return &ordersv1.ShipOrderRequest{
		OrderId: id, ShippingAddress: "1 Harbour Street", TrackingNumber: "T-1",
	}
}

// created executes the command of a test that expects it to succeed.
func created(t testing.TB, client *orderlog.Client, id string) *ordersv1.CreateOrderResponse {
	t.Helper()
	reply, err := client.Commands.CreateOrder(within(t), create(id))
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

func head(t testing.TB, client *orderlog.Client) uint64 {
	t.Helper()
	reply, err := client.Events.GetHead(within(t), &ordersv1.GetHeadRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return reply.GetPosition()
}

// failure returns the error of a call that must fail.
func failure(t testing.TB, err error) *orderlog.Error {
	t.Helper()
	var failed *orderlog.Error
	if !errors.As(err, &failed) {
		t.Fatalf("no *orderlog.Error: %v", err)
	}
	return failed
}

func equal[T comparable](t testing.TB, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestOrdersAreCreatedShippedAndRead(t *testing.T) {
	t.Parallel()
	client := serve(t).client()
	made := created(t, client, "")
	equal(t, made.GetPosition(), 1)
	shipped, err := client.Commands.ShipOrder(within(t), ship(made.GetOrderId()))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, shipped.GetVersion(), 2)
	answer, err := client.Queries.GetOrder(within(t), &ordersv1.GetOrderRequest{
		OrderId: made.GetOrderId(), MinPosition: shipped.GetPosition(),
	})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, answer.GetOrder().GetStatus(), ordersv1.OrderStatus_ORDER_STATUS_SHIPPED)
	equal(t, orderlog.Amount(answer.GetOrder().GetTotalAmount()).String(), "25")
	projections, err := client.Projections.GetStatus(within(t), &ordersv1.GetStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, len(projections.GetProjections()), 2)
}

func TestRequestIDHasOneEffect(t *testing.T) {
	t.Parallel()
	client := serve(t).client()
	request := create("")
	request.RequestId = "once"
	first, err := client.Commands.CreateOrder(within(t), request)
	if err != nil {
		t.Fatal(err)
	}
	second, err := client.Commands.CreateOrder(within(t), request)
	if err != nil || !proto.Equal(first, second) {
		t.Fatal(first, second, err)
	}
	equal(t, head(t, client), 1)
	equal(t, create("").GetRequestId(), "")
}

func TestLostAnswerIsAskedForAgainAndTheCommandHasOneEffect(t *testing.T) {
	t.Parallel()
	server := serve(t)
	client := server.client()
	created(t, client, "before")
	server.proxy.hold()
	done := make(chan *ordersv1.CreateOrderResponse, 1)
	go func() { done <- created(t, client, "o") }()
	// A new connection shows the committed command.
	until(t, func() bool { return head(t, server.client()) == 2 })
	select {
	case <-done:
		t.Fatal("the reply was not held")
	default:
	}
	server.proxy.cut()
	equal(t, (<-done).GetPosition(), 2)
	equal(t, head(t, server.client()), 2)
}

func TestSilentConnectionIsLeftWhileACallWaits(t *testing.T) {
	t.Parallel()
	server := serve(t)
	client := server.client(orderlog.WithAnswerWithin(time.Hour))
	created(t, client, "before")
	server.proxy.hold()
	// Only keepalive finds out, after 15 s.
	equal(t, created(t, client, "o").GetPosition(), 2)
}

func TestServerAllowsTheKeepalive(t *testing.T) {
	t.Parallel()
	client := serve(t).client()
	began := time.Now()
	// Two pings later, the call ends as it should.
	_, err := client.Queries.GetOrder(within(t), &ordersv1.GetOrderRequest{
		OrderId: "o", MinPosition: 1, MaxWait: durationpb.New(25 * time.Second),
	})
	equal(t, failure(t, err).Reason, "READ_MODEL_BEHIND")
	if time.Since(began) < 25*time.Second {
		t.Error("the call ended early")
	}
}

func TestCommandOutlivesTheServer(t *testing.T) {
	t.Parallel()
	server := serve(t)
	client := server.client()
	created(t, client, "before")
	server.kill()
	done := make(chan uint64)
	go func() { done <- created(t, client, "after").GetPosition() }()
	server.start()
	equal(t, <-done, 2)
}

func TestErrorHasEveryViolation(t *testing.T) {
	t.Parallel()
	client := serve(t).client()
	request := create("no good")
	request.CustomerId = ""
	request.Items[0].Quantity = 0
	_, err := client.Commands.CreateOrder(within(t), request)
	failed := failure(t, err)
	equal(t, failed.Code, codes.InvalidArgument)
	equal(t, status.Code(err), codes.InvalidArgument)
	equal(t, failed.Reason, "INVALID_FIELD")
	equal(t, failed.Retryable(), false)
	fields := slices.Sorted(maps.Keys(failed.Violations))
	equal(t, fmt.Sprint(fields), "[customer_id items[0].quantity order_id]")
	equal(t, failed.Violations["order_id"], "must match [A-Za-z0-9_-]{1,64}")
}

func TestErrorHasTheDetailsOfItsReason(t *testing.T) {
	t.Parallel()
	client := serve(t).client()
	_, err := client.Commands.ShipOrder(within(t), ship("nobody"))
	equal(t, failure(t, err).Resource, "nobody")
	created(t, client, "o")
	request := ship("o")
	request.ExpectedVersion = proto.Uint64(0)
	_, err = client.Commands.ShipOrder(within(t), request)
	failed := failure(t, err)
	equal(t, failed.Reason, "VERSION_MISMATCH")
	equal(t, fmt.Sprint(failed.Metadata), "map[actual:1 expected:0]")
}

func TestContextEndsACall(t *testing.T) {
	t.Parallel()
	client := serve(t).client()
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(100*time.Millisecond, cancel)
	query := &ordersv1.GetOrderRequest{OrderId: "o", MinPosition: 9}
	_, err := client.Queries.GetOrder(ctx, query)
	if !errors.Is(err, context.Canceled) || failure(t, err).Code != codes.Canceled {
		t.Fatal(err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err = client.Queries.GetOrder(ctx, query)
	equal(t, failure(t, err).Code, codes.DeadlineExceeded)
	if time.Since(began) > 3*time.Second {
		t.Error("the deadline was passed")
	}
}

func TestMissingServerIsReportedWhenPatienceIsOver(t *testing.T) {
	t.Parallel()
	client := connect(t, "127.0.0.1:1", orderlog.WithPatience(500*time.Millisecond))
	_, err := client.Commands.CreateOrder(context.Background(), create(""))
	equal(t, failure(t, err).Code, codes.Unavailable)
}

func TestPagesHaveEveryOrderOnce(t *testing.T) {
	t.Parallel()
	client := serve(t).client()
	var made []string
	var last *ordersv1.CreateOrderResponse
	for number := range 25 {
		last = created(t, client, fmt.Sprintf("o-%02d", number))
		made = append(made, last.GetOrderId())
	}
	search := &ordersv1.SearchOrdersRequest{
		PageSize: 10, OrderBy: "created_at", MinPosition: last.GetPosition(),
	}
	for range 2 {
		var found []string
		for order, err := range client.Orders(within(t), search) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, order.GetOrderId())
		}
		equal(t, fmt.Sprint(found), fmt.Sprint(made))
	}
	for _, err := range client.Orders(within(t), &ordersv1.SearchOrdersRequest{PageSize: 501}) {
		equal(t, failure(t, err).Reason, "INVALID_FIELD")
	}
	days := &ordersv1.GetStatisticsRequest{PageSize: 1, MinPosition: last.GetPosition()}
	var orders uint64
	for day, err := range client.Days(within(t), days) {
		if err != nil {
			t.Fatal(err)
		}
		orders += day.GetTotalOrders()
	}
	equal(t, orders, 25)
	for range client.Parked(within(t), &ordersv1.ListParkedRequest{}) {
		t.Error("no order is parked")
	}
}

func TestLargeOrdersAreReadInShortPages(t *testing.T) {
	t.Parallel()
	client := serve(t).client()
	large := create("")
	large.Items[0].ProductId = fmt.Sprintf("%064d", 0)
	for range 999 {
		large.Items = append(large.Items, large.Items[0])
	}
	var last uint64
	for range 60 {
		reply, err := client.Commands.CreateOrder(within(t), large)
		if err != nil {
			t.Fatal(err)
		}
		last = reply.GetPosition()
	}
	// All of them together exceed grpc's default limit of 4 MiB.
	orders := 0
	for _, err := range client.Orders(within(t), &ordersv1.SearchOrdersRequest{PageSize: 500, MinPosition: last}) {
		if err != nil {
			t.Fatal(err)
		}
		orders++
	}
	equal(t, orders, 60)
}

func TestNewerFieldIsRefusedInACommandAndKeptInAnAnswer(t *testing.T) {
	t.Parallel()
	client := serve(t).client()
	unknown := []byte("\xc2\x3e\x03new")
	request := create("o")
	request.ProtoReflect().SetUnknown(unknown)
	_, err := client.Commands.CreateOrder(within(t), request)
	if _, ok := failure(t, err).Violations["1000"]; !ok {
		t.Error(err)
	}
	equal(t, head(t, client), 0)
	sent, err := proto.Marshal(&ordersv1.Order{OrderId: "o", Status: 99})
	if err != nil {
		t.Fatal(err)
	}
	order := &ordersv1.Order{}
	if err := proto.Unmarshal(append(sent, unknown...), order); err != nil {
		t.Fatal(err)
	}
	equal(t, order.GetStatus().String(), "99")
	equal(t, string(order.ProtoReflect().GetUnknown()), string(unknown))
	text, err := protojson.Marshal(create("o"))
	if err != nil || protojson.Unmarshal(text, create("")) != nil {
		t.Error(err)
	}
}

func TestMoneyIsExact(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"0", "12.5", "-0.0001", "-7.25", "922337203685477.5807", "1.000000001"} {
		amount, err := orderlog.Money("EUR", decimal.RequireFromString(text))
		if err != nil {
			t.Fatal(err)
		}
		equal(t, orderlog.Amount(amount).String(), text)
		if amount.GetUnits() > 0 && amount.GetNanos() < 0 || amount.GetUnits() < 0 && amount.GetNanos() > 0 {
			t.Error("both parts must have the same sign")
		}
	}
	for _, text := range []string{"0.0000000001", "9223372036854775808"} {
		if _, err := orderlog.Money("EUR", decimal.RequireFromString(text)); err == nil {
			t.Error(text)
		}
	}
}
