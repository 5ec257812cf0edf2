package orderlog

import (
	"context"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// withTrace adds the trace context of the caller's span to the metadata, as the global propagator of
// OpenTelemetry writes it.
func withTrace(ctx context.Context) context.Context {
	trace := propagation.MapCarrier{}
	otel.GetTextMapPropagator().Inject(ctx, trace)
	for name, value := range trace {
		ctx = metadata.AppendToOutgoingContext(ctx, name, value)
	}
	return ctx
}

// openStream opens a stream that returns an *Error or *HistoryError.
func openStream(
	ctx context.Context, description *grpc.StreamDesc, conn *grpc.ClientConn, method string,
	open grpc.Streamer, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	opened, err := open(withTrace(ctx), description, conn, method, options...)
	if err != nil {
		return nil, callError(ctx, err)
	}
	return errorStream{opened, ctx}, nil
}

type errorStream struct {
	grpc.ClientStream
	// ctx is the caller's. That of the stream ends with every stream.
	ctx context.Context
}

// RecvMsg implements [grpc.ClientStream].
func (s errorStream) RecvMsg(message any) error {
	return callError(s.ctx, s.ClientStream.RecvMsg(message))
}

// SendMsg implements [grpc.ClientStream].
func (s errorStream) SendMsg(message any) error {
	return callError(s.ctx, s.ClientStream.SendMsg(message))
}
