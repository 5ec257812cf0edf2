package orderlog_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	orderlog "github.com/orderlog/orderlog/clients/go"
	ordersv1 "github.com/orderlog/orderlog/clients/go/orders/v1"
)

// takes waits until the server accepts the token, and returns a client with it.
func takes(t testing.TB, server *secured, token string) *orderlog.Client {
	t.Helper()
	client := server.client(orderlog.WithToken(token))
	until(t, func() bool {
		_, err := client.Events.GetHead(within(t), &ordersv1.GetHeadRequest{})
		return err == nil
	})
	return client
}

func TestEveryKindOfCallSendsTheToken(t *testing.T) {
	t.Parallel()
	server := serveSecured(t)
	client := takes(t, server, server.token("command", "query", "subscribe", "operate"))
	created(t, client, "o")
	for response, err := range client.Subscribe(within(t), &ordersv1.SubscribeRequest{}) {
		if err != nil {
			t.Fatal(err)
		}
		equal(t, response.GetPosition(), 1)
	}
	for executed, err := range client.ExecuteCommands(within(t), slices.Values(creates("p"))) {
		if err != nil {
			t.Fatal(err)
		}
		equal(t, executed.Reply.GetCreateOrder().GetPosition(), 2)
	}
	for _, err := range client.Parked(within(t), &ordersv1.ListParkedRequest{}) {
		t.Fatal(err)
	}
}

func TestInvalidTokenIsUnauthenticatedAndAMissingRoleDenied(t *testing.T) {
	t.Parallel()
	server := serveSecured(t)
	querying := server.token("query")
	takes(t, server, querying)
	for token, want := range map[string]codes.Code{
		"": codes.Unauthenticated, "wrong": codes.Unauthenticated, querying: codes.PermissionDenied,
	} {
		client := server.client(orderlog.WithToken(token))
		_, err := client.Commands.CreateOrder(within(t), create(""))
		equal(t, failure(t, err).Code, want)
		store := record(t, filepath.Join(t.TempDir(), "seen.db"))
		equal(t, failure(t, client.Follow(within(t), store, nil)).Code, want)
	}
	_, err := server.client().Commands.CreateOrder(within(t), create(""))
	equal(t, failure(t, err).Code, codes.Unauthenticated)
}

func TestEachCallAsksForTheToken(t *testing.T) {
	t.Parallel()
	server := serveSecured(t)
	good := server.token("command")
	takes(t, server, good)
	var token atomic.Value
	source := func(context.Context) (string, error) { return token.Load().(string), nil }
	client := server.client(orderlog.WithTokenSource(source))
	for _, token_ := range []string{good, "wrong", good + "\n"} {
		token.Store(token_)
		_, err := client.Commands.CreateOrder(within(t), create(""))
		if token_ == "wrong" {
			equal(t, failure(t, err).Code, codes.Unauthenticated)
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestMissingTokenIsReportedWithoutItsText(t *testing.T) {
	t.Parallel()
	server := serveSecured(t)
	for want, source := range map[string]orderlog.TokenSource{
		"no token: the issuer is down": func(context.Context) (string, error) {
			return "", errors.New("the issuer is down")
		},
		"no token: it has characters that no token has": func(context.Context) (string, error) {
			return "secret\nsecret", nil
		},
	} {
		client := server.client(orderlog.WithTokenSource(source))
		_, err := client.Commands.CreateOrder(within(t), create(""))
		equal(t, failure(t, err).Code, codes.Unauthenticated)
		if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
	}
}

func TestSubscriberGoesOnWhenItsTokenIsReplaced(t *testing.T) {
	t.Parallel()
	server := serveSecured(t)
	created(t, takes(t, server, server.token("command")), "a")
	var lock sync.Mutex
	token := server.token("subscribe")
	takes(t, server, token)
	refused := make(chan error, 100)
	store := record(t, filepath.Join(t.TempDir(), "seen.db"))
	source := func(context.Context) (string, error) {
		lock.Lock()
		defer lock.Unlock()
		return token, nil
	}
	client := server.client(orderlog.WithTokenSource(source))
	defer follow(t, client, store, nil, orderlog.OnBroken(func(err error) { refused <- err }))()
	until(t, func() bool { return store.seen() == "[a]" })
	server.revokeAll()
	equal(t, failure(t, <-refused).Code, codes.Unauthenticated)
	created(t, takes(t, server, server.token("command")), "b")
	lock.Lock()
	token = server.token("subscribe")
	lock.Unlock()
	until(t, func() bool { return store.seen() == "[a b]" })
}

func TestSubscriberEndsWhenItsOneTokenIsRevoked(t *testing.T) {
	t.Parallel()
	server := serveSecured(t)
	client := takes(t, server, server.token("subscribe"))
	store := record(t, filepath.Join(t.TempDir(), "seen.db"))
	revoke := orderlog.OnCaughtUp(func(is bool) {
		if is {
			server.revokeAll()
		}
	})
	equal(t, failure(t, client.Follow(within(t), store, nil, revoke)).Code, codes.Unauthenticated)
}

func TestServerOfAnotherAuthorityGetsNoToken(t *testing.T) {
	t.Parallel()
	server := serveSecured(t)
	_, _, other := certificate(t)
	for _, config := range []*tls.Config{{RootCAs: other}, nil} {
		options := []orderlog.Option{orderlog.WithToken("secret"), orderlog.WithPatience(time.Second)}
		if config != nil {
			options = append(options, orderlog.WithTLS(config))
		}
		client := connect(t, server.target(), options...)
		_, err := client.Commands.CreateOrder(context.Background(), create(""))
		equal(t, failure(t, err).Code, codes.Unavailable)
	}
}

func TestClientMayHaveACertificate(t *testing.T) {
	t.Parallel()
	certFile, keyFile, _ := certificate(t)
	server := serveSecured(t, "--tls-client-ca", certFile)
	shown, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: server.ca, Certificates: []tls.Certificate{shown}}
	token := orderlog.WithToken(server.token("command"))
	client := connect(t, server.target(), token, orderlog.WithTLS(config))
	until(t, func() bool {
		_, err := client.Commands.CreateOrder(within(t), create(""))
		return err == nil
	})
	without := server.client(token, orderlog.WithPatience(time.Second))
	_, err = without.Commands.CreateOrder(context.Background(), create(""))
	equal(t, failure(t, err).Code, codes.Unavailable)
}

func TestTokenIsNotSentInClearToAnotherMachine(t *testing.T) {
	t.Parallel()
	for _, target := range []string{
		"orders.example:50051",
		"http://orders.example:50051",
		"http://127.0.0.1:50051@orders.example",
		"127.0.0.1.orders.example:50051",
		"dns://127.0.0.1/orders.example:50051",
		"0.0.0.0:50051",
		"[2001:db8::1]:50051",
	} {
		_, err := orderlog.New(target, orderlog.WithToken("secret"))
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Error(target, err)
		}
	}
	for _, target := range []string{"localhost:1", "[::1]:1", "http://[::1]:1", "127.1.2.3:1"} {
		connect(t, target, orderlog.WithToken("secret"))
	}
	if _, err := orderlog.New("127.0.0.1:1", orderlog.WithTLS(&tls.Config{})); err == nil {
		t.Error("TLS is for https://")
	}
}

func TestTokenInClearGoesPastTheProxyOfTheEnvironment(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	accepted := make(chan struct{}, 1)
	go func() {
		if _, err := listener.Accept(); err == nil {
			accepted <- struct{}{}
		}
	}()
	for _, variable := range []string{"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"} {
		t.Setenv(variable, "http://"+listener.Addr().String())
	}
	// Nothing listens there.
	client := connect(t, "127.0.0.1:1", orderlog.WithToken("secret"), orderlog.WithPatience(time.Second))
	_, err = client.Commands.CreateOrder(context.Background(), create(""))
	equal(t, failure(t, err).Code, codes.Unavailable)
	equal(t, len(accepted), 0)
}
