package orderlog_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"maps"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	orderlog "github.com/orderlog/orderlog/clients/go"
)

// limit is how long a test waits for a condition.
const limit = time.Minute

// program returns the server to test.
func program(t testing.TB) string {
	t.Helper()
	path := os.Getenv("ORDERLOG")
	if path == "" {
		path = "../../target/debug/orderlog"
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// server is an orderlog server with its own data folder, behind a proxy with one address across
// restarts.
type server struct {
	t       testing.TB
	folder  string
	more    []string
	process *exec.Cmd
	proxy   *proxy
}

// serve starts a server, with more arguments if there are any.
func serve(t testing.TB, more ...string) *server {
	t.Helper()
	s := &server{t: t, folder: t.TempDir(), more: more}
	s.proxy = openProxy(t)
	s.start()
	t.Cleanup(s.kill)
	return s
}

func (s *server) target() string { return s.proxy.listener.Addr().String() }

// client makes a client of the server.
func (s *server) client(options ...orderlog.Option) *orderlog.Client {
	s.t.Helper()
	return connect(s.t, s.target(), options...)
}

func connect(t testing.TB, target string, options ...orderlog.Option) *orderlog.Client {
	t.Helper()
	client, err := orderlog.New(target, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func (s *server) start() {
	s.t.Helper()
	arguments := append([]string{"serve", "--listen", "127.0.0.1:0", "--data-dir", s.folder}, s.more...)
	s.process = exec.Command(program(s.t), arguments...)
	s.process.Dir = s.folder
	s.process.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "ORDERLOG")
	})
	stderr, err := s.process.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	var logged strings.Builder
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		logged.WriteString(lines.Text() + "\n")
		if _, rest, ok := strings.Cut(lines.Text(), "serving address="); ok {
			s.proxy.forwardTo(strings.Fields(rest)[0])
			go io.Copy(io.Discard, stderr)
			return
		}
	}
	s.t.Fatalf("the server ended: %s", logged.String())
}

func (s *server) kill() {
	if s.process.ProcessState == nil {
		s.process.Process.Kill()
		s.process.Wait()
	}
}

// saveLog copies the log while the server is killed.
func (s *server) saveLog() map[string][]byte {
	saved := map[string][]byte{}
	for _, file := range s.logFiles() {
		content, err := os.ReadFile(file)
		if err != nil {
			s.t.Fatal(err)
		}
		saved[file] = content
	}
	return saved
}

// putBackLog replaces the log by a saved one while the server is killed.
func (s *server) putBackLog(saved map[string][]byte) {
	for _, file := range s.logFiles() {
		os.Remove(file)
	}
	for _, file := range slices.Collect(maps.Keys(saved)) {
		if err := os.WriteFile(file, saved[file], 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *server) logFiles() []string {
	files, err := filepath.Glob(filepath.Join(s.folder, "events.db*"))
	if err != nil {
		s.t.Fatal(err)
	}
	return files
}

// proxy forwards connections to a server, until the test cuts them or holds the replies.
type proxy struct {
	listener net.Listener
	lock     sync.Mutex
	to       string
	open     map[*link]struct{}
}

// link is one forwarded connection.
type link struct {
	client, server net.Conn
	held           chan struct{}
}

func openProxy(t testing.TB) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, open: map[*link]struct{}{}}
	t.Cleanup(func() { listener.Close(); p.cut() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.forward(client)
		}
	}()
	return p
}

func (p *proxy) forwardTo(address string) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.to = address
}

func (p *proxy) forward(client net.Conn) {
	p.lock.Lock()
	to := p.to
	p.lock.Unlock()
	server, err := net.Dial("tcp", to)
	if err != nil {
		client.Close()
		return
	}
	l := &link{client: client, server: server, held: make(chan struct{})}
	p.lock.Lock()
	p.open[l] = struct{}{}
	p.lock.Unlock()
	go func() {
		io.Copy(server, client)
		l.close()
	}()
	io.Copy(heldWriter{l}, server)
	l.close()
	p.lock.Lock()
	delete(p.open, l)
	p.lock.Unlock()
}

func (l *link) close() {
	l.client.Close()
	l.server.Close()
}

// heldWriter discards replies once they are held.
type heldWriter struct{ *link }

func (w heldWriter) Write(data []byte) (int, error) {
	select {
	case <-w.held:
		return len(data), nil
	default:
		return w.client.Write(data)
	}
}

// hold stops all replies on the open connections, without closing them.
func (p *proxy) hold() {
	p.lock.Lock()
	defer p.lock.Unlock()
	for l := range p.open {
		select {
		case <-l.held:
		default:
			close(l.held)
		}
	}
}

// cut closes the open connections.
func (p *proxy) cut() {
	p.lock.Lock()
	defer p.lock.Unlock()
	for l := range p.open {
		l.close()
	}
}

// secured is a server with TLS that requires a token.
type secured struct {
	*server
	tokens string
	ca     *x509.CertPool
}

func serveSecured(t testing.TB, more ...string) *secured {
	t.Helper()
	cert, key, ca := certificate(t)
	s := &secured{server: &server{t: t}, tokens: filepath.Join(t.TempDir(), "tokens"), ca: ca}
	s.token("operate")
	arguments := []string{"--tls-cert", cert, "--tls-key", key, "--tokens", s.tokens}
	s.server = serve(t, append(arguments, more...)...)
	return s
}

func (s *secured) target() string { return "https://" + s.server.target() }

func (s *secured) client(options ...orderlog.Option) *orderlog.Client {
	s.t.Helper()
	tls := orderlog.WithTLS(&tls.Config{RootCAs: s.ca})
	return connect(s.t, s.target(), append([]orderlog.Option{tls}, options...)...)
}

// token makes a token. A running server accepts it within seconds.
func (s *secured) token(roles ...string) string {
	s.t.Helper()
	arguments := []string{"token", "new", "--tokens", s.tokens}
	for _, role := range roles {
		arguments = append(arguments, "--role", role)
	}
	printed, err := exec.Command(program(s.t), arguments...).Output()
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(printed))
}

// revokeAll makes the server reject all tokens.
func (s *secured) revokeAll() {
	s.t.Helper()
	if err := os.WriteFile(s.tokens+".new", nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(s.tokens+".new", s.tokens); err != nil {
		s.t.Fatal(err)
	}
}

// certificate makes a self-signed certificate of this machine: its file, its key's file, and the
// pool that trusts it.
func certificate(t testing.TB) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "orderlog"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	certFile, keyFile = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for file, content := range map[string][]byte{
		certFile: cert,
		keyFile:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return certFile, keyFile, pool
}

// until waits for a condition.
func until(t testing.TB, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatal("the condition does not become true")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// within returns a context that ends with the test, or after the limit.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}
