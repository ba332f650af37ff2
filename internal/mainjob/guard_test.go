package mainjob

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		var acks atomic.Int64
		g := &Guard{Patience: time.Minute}
		g.Enter("register")
		defer g.Start(ctx, cancel)()
		time.Sleep(50 * time.Second)
		g.Enter("deliver acks") // a new phase is movement
		g.Observe(func() string { return fmt.Sprintf("%d acks", acks.Load()) })
		for range 10 {
			time.Sleep(50 * time.Second)
			acks.Add(1)
		}
		if ctx.Err() != nil {
			t.Fatal("a job that moves was ended:", context.Cause(ctx))
		}
		time.Sleep(70 * time.Second)
		var still *stillError
		if err := context.Cause(ctx); !errors.As(err, &still) ||
			!strings.Contains(err.Error(), "deliver acks") ||
			!strings.Contains(err.Error(), "10 acks") {
			t.Errorf("a job that stands still: %v", err)
		}
	})
}
