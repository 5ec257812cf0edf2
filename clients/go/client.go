package orderlog

import (
	"context"
	"crypto/tls"
	"time"

	"google.golang.org/grpc"

	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

const (
	// defaultPatience bounds the retries of a call whose context has no deadline.
	defaultPatience = 30 * time.Second
	// defaultAnswerWithin bounds one attempt, so that a lost answer is asked for once more.
	defaultAnswerWithin = 10 * time.Second
)

// Client is a connection to a server. It is safe for concurrent use.
type Client struct {
	// Commands executes commands. It adds a request id to a command that has none, so that retries
	// take effect once.
	Commands ordersv1.CommandServiceClient
	// Queries asks the read model.
	Queries ordersv1.QueryServiceClient
	// Events reads the log.
	Events ordersv1.EventServiceClient
	// Projections is for operators.
	Projections ordersv1.ProjectionServiceClient

	settings *settings
	conn     *grpc.ClientConn
}

// settings are those of all connections of a client.
type settings struct {
	token        TokenSource
	isFixedToken bool
	tls          *tls.Config
	patience     time.Duration
	answerWithin time.Duration
	dialOptions  []grpc.DialOption
	dial         func() (*grpc.ClientConn, error)
}

// Option changes how a client connects and retries.
type Option func(*settings)

// TokenSource returns the token to send. Each call and each stream asks it, so let it keep the token
// until shortly before that expires.
type TokenSource func(context.Context) (string, error)

// WithToken sends a token with each call.
func WithToken(token string) Option {
	return func(s *settings) {
		s.token = func(context.Context) (string, error) { return token, nil }
		s.isFixedToken = true
	}
}

// WithTokenSource sends the token that a function returns, so that it can be renewed.
func WithTokenSource(source TokenSource) Option {
	return func(s *settings) {
		s.token = source
		s.isFixedToken = false
	}
}

// WithTLS sets the authorities to trust and the certificate to show. The default is those of the
// system, and none.
func WithTLS(config *tls.Config) Option {
	return func(s *settings) { s.tls = config }
}

// WithPatience bounds the time in which a call is retried, if its context has no deadline. The
// default is 30 s.
func WithPatience(patience time.Duration) Option {
	return func(s *settings) { s.patience = patience }
}

// WithAnswerWithin bounds each attempt of a call, in addition to the call's MaxWait. The default is
// 10 s.
func WithAnswerWithin(limit time.Duration) Option {
	return func(s *settings) { s.answerWithin = limit }
}

// WithDialOptions adds options of grpc, such as further interceptors.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) { s.dialOptions = append(s.dialOptions, options...) }
}

// New makes a client of the server at "ADDRESS:PORT", or with TLS at "https://NAME:PORT". The first
// call connects.
//
// Without TLS, a token is only sent to a server on this machine.
func New(target string, options ...Option) (*Client, error) {
	s := &settings{patience: defaultPatience, answerWithin: defaultAnswerWithin}
	for _, option := range options {
		option(s)
	}
	address, err := s.address(target)
	if err != nil {
		return nil, err
	}
	s.dial = func() (*grpc.ClientConn, error) {
		return grpc.NewClient(address.target, s.dialOptionsTo(address)...)
	}
	conn, err := s.dial()
	if err != nil {
		return nil, err
	}
	return &Client{
		Commands:    ordersv1.NewCommandServiceClient(conn),
		Queries:     ordersv1.NewQueryServiceClient(conn),
		Events:      ordersv1.NewEventServiceClient(conn),
		Projections: ordersv1.NewProjectionServiceClient(conn),
		settings:    s,
		conn:        conn,
	}, nil
}

// Close ends the connection and its calls. Subscribe, Follow and WatchOrders have connections of
// their own, and end with their context.
func (c *Client) Close() error { return c.conn.Close() }
