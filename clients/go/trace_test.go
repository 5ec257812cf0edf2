package orderlog_test

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"google.golang.org/grpc/metadata"

	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

// It sets global providers, so it runs before the parallel tests go on.
func TestEventHasTheTraceAndTheCorrelationIDOfItsCall(t *testing.T) {
	provider := sdktrace.NewTracerProvider()
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	client := serve(t).client()
	ctx, span := provider.Tracer("test").Start(within(t), "buy tea")
	defer span.End()
	ctx = metadata.AppendToOutgoingContext(ctx, "x-correlation-id", "basket-1")
	if _, err := client.Commands.CreateOrder(ctx, create("o")); err != nil {
		t.Fatal(err)
	}
	history, err := client.Events.GetOrderHistory(context.Background(),
		&ordersv1.GetOrderHistoryRequest{OrderId: "o"})
	if err != nil {
		t.Fatal(err)
	}
	event := history.GetEvents()[0]
	equal(t, event.GetCorrelationId(), "basket-1")
	if trace := span.SpanContext().TraceID().String(); !strings.Contains(event.GetTraceparent(), trace) {
		t.Errorf("%s is not of the trace %s", event.GetTraceparent(), trace)
	}
}
