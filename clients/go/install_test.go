package orderlog_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	orderlog "github.com/orderlog/orderlog/clients/go"
)

const module = "github.com/orderlog/orderlog/clients/go"

// Serves the repository from a copy of its files, with a tag, so that `go get` does what it does for
// users: it resolves the tag, and takes only files that git knows. The version is new in each run,
// because Go keeps versions for ever.
func TestModuleIsInstalledByGoGet(t *testing.T) {
	t.Parallel()
	version := fmt.Sprintf("v%s-test.%d", orderlog.Version, time.Now().UnixNano())
	origin, project := publish(t, version), t.TempDir()
	environment := []string{
		"GOPRIVATE=github.com/orderlog",
		"GOFLAGS=-modcacherw",
		"GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=url.file://" + origin + ".insteadOf",
		"GIT_CONFIG_VALUE_0=https://github.com/orderlog/orderlog",
	}
	main, err := os.ReadFile("testdata/consumer.go")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(project, "main.go"), main, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, project, environment, "go", "mod", "init", "example.com/shop")
	run(t, project, environment, "go", "get", module+"@"+version)
	run(t, project, environment, "go", "mod", "tidy")
	run(t, project, environment, "go", "build", "-o", "shop", ".")
	printed := run(t, project, environment, filepath.Join(project, "shop"), serve(t).target())
	equal(t, printed, "1 o *ordersv1.RecordedEvent_OrderCreated\n2 o *ordersv1.RecordedEvent_OrderShipped\n")
	folder := strings.TrimSpace(run(t, project, environment, "go", "list", "-m", "-f", "{{.Dir}}", module))
	t.Cleanup(func() { os.RemoveAll(folder) })
	for _, licence := range []string{"LICENSE-APACHE", "LICENSE-MIT"} {
		installed, err := os.ReadFile(filepath.Join(folder, licence))
		if err != nil {
			t.Fatal(err)
		}
		original, err := os.ReadFile(filepath.Join("../..", licence))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(installed, original) {
			t.Errorf("%s is not that of the repository", licence)
		}
	}
}

// publish makes a repository of the module's files, and tags it.
func publish(t testing.TB, version string) string {
	t.Helper()
	origin := t.TempDir()
	files := run(t, ".", nil, "git", "ls-files", "--cached", "--others", "--exclude-standard")
	for _, file := range strings.Fields(files) {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(origin, "clients/go", file)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, origin, nil, "git", "init", "--quiet")
	run(t, origin, nil, "git", "add", "--all")
	run(t, origin, nil, "git", "-c", "user.name=test", "-c", "user.email=test@example.com",
		"commit", "--quiet", "--message", "The module")
	run(t, origin, nil, "git", "tag", "clients/go/"+version)
	return origin
}

func TestVersionIsThatOfTheServer(t *testing.T) {
	t.Parallel()
	manifest, err := os.ReadFile("../../Cargo.toml")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(manifest), "[workspace.package]\nversion = \""+orderlog.Version+"\"\n") {
		t.Errorf("Cargo.toml has another version than %s", orderlog.Version)
	}
}
