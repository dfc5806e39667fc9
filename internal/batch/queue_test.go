package batch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestFullQueueRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		b := newBatcher(t, f.run, Options{MaxRows: 2, Levels: []Policy{{MaxQueue: 4}}})
		var wg sync.WaitGroup
		send(t, b, &wg, 0, 5)
		_, err := call(t, b, context.Background(), 9, 1)
		full, ok := errors.AsType[*FullError](err)
		if !ok || full.Waiting != 4 || full.RetryAfter != time.Second {
			t.Errorf("got %#v, expected a FullError with 4 waiting", err)
		}
		wg.Wait()
		send(t, b, &wg, 0, 5)
		_, err = call(t, b, context.Background(), 9, 1)
		if full, ok = errors.AsType[*FullError](err); !ok || full.RetryAfter < time.Second || full.RetryAfter > 3*time.Second {
			t.Errorf("got %+v, expected RetryAfter of about 2s, the time of 2 requests", full)
		}
		wg.Wait()
	})
}

func TestCanceledRequestLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		b := newBatcher(t, f.run, Options{MaxRows: 4})
		var wg sync.WaitGroup
		send(t, b, &wg, 0, 1)
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := call(t, b, ctx, 5, 1); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 300*time.Millisecond {
			t.Errorf("got %v after %v", err, time.Since(start))
		}
		if b.Waiting() != 0 {
			t.Errorf("%d wait", b.Waiting())
		}
		wg.Wait()
		f.want(t, 1)
		if _, err := call(t, b, ctx, 5, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a request that comes too late got %v", err)
		}
		f.want(t, 1)
	})
}

func TestPriorities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		b := newBatcher(t, f.run, Options{MaxRows: 1, Levels: make([]Policy, 3), DefaultLevel: 2})
		var wg sync.WaitGroup
		for i, lvl := range []int{0, 3, 0, 1, 2, 1} {
			wg.Go(func() {
				c, err := b.Do(context.Background(), req(float32(i), 1), lvl, 0)
				if err != nil {
					t.Error(err)
					return
				}
				c.Release()
			})
			synctest.Wait()
		}
		wg.Wait()
		if want := []float32{0, 3, 5, 2, 4, 1}; !slices.Equal(f.firsts, want) {
			t.Errorf("order %v, expected %v", f.firsts, want)
		}
		if _, err := b.Do(context.Background(), req(0, 1), 4, 0); err == nil {
			t.Error("level 4 of 3 was taken")
		}
	})
}

func TestQueueTimeout(t *testing.T) {
	ms := time.Millisecond
	tests := []struct {
		name   string
		policy Policy
		asked  time.Duration
		after  time.Duration // of the refusal; 0: served
	}{
		{"none", Policy{}, 0, 0},
		{"the model's", Policy{Timeout: 200 * ms}, 0, 200 * ms},
		{"the request's is not allowed", Policy{}, 100 * ms, 0},
		{"the request's shortens", Policy{Timeout: 200 * ms, AllowOverride: true}, 100 * ms, 100 * ms},
		{"the request's can't lengthen", Policy{Timeout: 200 * ms, AllowOverride: true}, 500 * ms, 200 * ms},
		{"the request's alone", Policy{AllowOverride: true}, 300 * ms, 300 * ms},
		{"postponed", Policy{Timeout: 200 * ms, Postpone: true}, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{takes: time.Second}
				b := newBatcher(t, f.run, Options{MaxRows: 4, Levels: []Policy{tt.policy}})
				var wg sync.WaitGroup
				send(t, b, &wg, 0, 1)
				start := time.Now()
				c, err := b.Do(context.Background(), req(1, 1), 0, tt.asked)
				took := time.Since(start)
				switch {
				case err == nil && tt.after == 0:
					c.Release()
				case errors.Is(err, ErrQueueTimeout) && took == tt.after:
				default:
					t.Errorf("got %v after %v", err, took)
				}
				wg.Wait()
			})
		})
	}
}

func TestPostponedRequestsComeLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		b := newBatcher(t, f.run, Options{MaxRows: 1, Levels: []Policy{{Timeout: 500 * time.Millisecond, Postpone: true}}})
		var wg sync.WaitGroup
		send(t, b, &wg, 0, 2)
		time.Sleep(900 * time.Millisecond)
		send(t, b, &wg, 2, 1)
		wg.Wait()
		if want := []float32{0, 2, 1}; !slices.Equal(f.firsts, want) {
			t.Errorf("order %v, expected %v", f.firsts, want)
		}
	})
}
