package orderlog_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestExamplePrintsTheEventOfItsOrder(t *testing.T) {
	t.Parallel()
	server := serve(t)
	board := filepath.Join(t.TempDir(), "board")
	run(t, ".", nil, "go", "build", "-o", board, "./example")
	example := exec.Command(board, server.target())
	printed, err := example.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := example.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(printed)
	lines.Scan()
	id, _ := strings.CutPrefix(lines.Text(), "created ")
	lines.Scan()
	equal(t, lines.Text(), fmt.Sprintf("1 %s *ordersv1.RecordedEvent_OrderCreated", id))
	if err := example.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := example.Wait(); err != nil {
		t.Fatal(err)
	}
}

// run runs a program in a folder, and returns its output.
func run(t testing.TB, folder string, environment []string, program string, arguments ...string) string {
	t.Helper()
	command := exec.Command(program, arguments...)
	command.Dir = folder
	command.Env = append(os.Environ(), environment...)
	var complaint strings.Builder
	command.Stderr = &complaint
	printed, err := command.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", program, strings.Join(arguments, " "), err, printed, complaint.String())
	}
	return string(printed)
}
