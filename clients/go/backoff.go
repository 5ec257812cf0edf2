package orderlog

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 5 * time.Second
)

// backoff makes the waits between retries. They grow, and are random, so that clients do not retry
// together. The zero value starts with the shortest.
type backoff struct {
	longest time.Duration
}

// next returns the next wait.
func (b *backoff) next() time.Duration {
	b.longest = min(max(b.longest*2, firstBackoff), maxBackoff)
	return b.longest/2 + rand.N(b.longest/2)
}

// sleep waits, and returns the context's error if that ends first.
func sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
