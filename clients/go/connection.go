package orderlog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
)

const (
	// keepaliveTime is the shortest that grpc allows. Pings detect a lost server while a call waits.
	keepaliveTime    = 10 * time.Second
	keepaliveTimeout = 5 * time.Second
	// maxReconnectDelay is short, so that a restarted server is found soon.
	maxReconnectDelay = time.Second
	connectTimeout    = 5 * time.Second
)

// address is where a server listens.
type address struct {
	target string
	isTLS  bool
}

// address checks a target, and that no token goes there in clear.
func (s *settings) address(target string) (address, error) {
	text := target
	if !strings.HasPrefix(target, "https://") && !strings.HasPrefix(target, "http://") {
		text = "http://" + target
	}
	at, err := url.Parse(text)
	if err != nil || at.Host == "" || at.User != nil || strings.Trim(at.Path, "/") != "" {
		return address{}, fmt.Errorf("%s is neither ADDRESS:PORT nor https://NAME:PORT", target)
	}
	if at.Scheme == "https" {
		return address{target: "dns:///" + at.Host, isTLS: true}, nil
	}
	if s.tls != nil {
		return address{}, fmt.Errorf("TLS is for https://, not for %s", target)
	}
	if s.token != nil && !isLoopback(at.Hostname()) {
		return address{}, fmt.Errorf("a token is not sent in clear to %s: use https://", target)
	}
	return address{target: "dns:///" + at.Host}, nil
}

func isLoopback(host string) bool {
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// dialOptionsTo makes the options of a connection.
func (s *settings) dialOptionsTo(at address) []grpc.DialOption {
	options := []grpc.DialOption{
		grpc.WithUserAgent("orderlog-go/" + Version),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveTime, Timeout: keepaliveTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: grpcbackoff.Config{
				BaseDelay:  firstBackoff,
				Multiplier: 2,
				Jitter:     0.2,
				MaxDelay:   maxReconnectDelay,
			},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithChainUnaryInterceptor(s.unary),
		grpc.WithChainStreamInterceptor(openStream),
	}
	if at.isTLS {
		options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(s.tls)))
	} else {
		// A proxy of the environment could read what is not encrypted.
		options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
	}
	if s.token != nil {
		options = append(options, grpc.WithPerRPCCredentials(bearer{s.token, at.isTLS}))
	}
	return append(options, s.dialOptions...)
}

// bearer sends a token with each call.
type bearer struct {
	token TokenSource
	isTLS bool
}

// GetRequestMetadata implements [credentials.PerRPCCredentials].
func (b bearer) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, err := b.token(ctx)
	if err != nil {
		return nil, noToken(err)
	}
	token = strings.TrimSpace(token)
	// An error about an invalid header would contain the token.
	if strings.ContainsFunc(token, func(r rune) bool { return r < '!' || r > '~' }) {
		return nil, noToken(errors.New("it has characters that no token has"))
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials].
func (b bearer) RequireTransportSecurity() bool { return b.isTLS }

func noToken(err error) error {
	return status.Errorf(codes.Unauthenticated, "no token: %v", err)
}
