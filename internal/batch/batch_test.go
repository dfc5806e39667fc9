package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/salver-ml/salver/internal/tensor"
)

// fake is a model that takes a fixed time and adds 1 to each value.
type fake struct {
	mu       sync.Mutex
	takes    time.Duration
	sizes    []int // rows of each execution
	firsts   []float32
	released int
	fail     func(in []*tensor.Tensor) error
	broken   bool // gives one row too few for batches
}

func (f *fake) run(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, func(), error) {
	f.mu.Lock()
	f.sizes = append(f.sizes, in[0].Shape[0])
	if vs := tensor.Of[float32](in[0]); len(vs) > 0 {
		f.firsts = append(f.firsts, vs[0])
	}
	f.mu.Unlock()
	if f.takes > 0 {
		select {
		case <-time.After(f.takes):
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
	if f.fail != nil {
		if err := f.fail(in); err != nil {
			return nil, nil, err
		}
	}
	out := in[0].Clone()
	for i, v := range tensor.Of[float32](out) {
		tensor.Of[float32](out)[i] = v + 1
	}
	if f.broken && out.Shape[0] > 1 {
		out.Shape[0]--
	}
	return []*tensor.Tensor{out}, func() { f.mu.Lock(); f.released++; f.mu.Unlock() }, nil
}

// want checks the sizes of the executions so far.
func (f *fake) want(t *testing.T, sizes ...int) {
	t.Helper()
	if !slices.Equal(f.sizes, sizes) {
		t.Errorf("executions of %v rows, expected %v", f.sizes, sizes)
	}
}

func newBatcher(t *testing.T, run RunFunc, o Options) *Batcher {
	t.Helper()
	b, err := New(run, o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// req is a request of n rows of 2 values, all equal to v.
func req(v float32, n int) []*tensor.Tensor {
	x := make([]float32, 2*n)
	for i := range x {
		x[i] = v
	}
	return []*tensor.Tensor{tensor.FromSlice(x, n, 2)}
}

// call sends a request and checks its answer.
func call(t *testing.T, b *Batcher, ctx context.Context, v float32, n int) (Timing, error) {
	c, err := b.Do(ctx, req(v, n), 0, 0)
	if err != nil {
		return Timing{}, err
	}
	defer c.Release()
	if got := c.Outputs[0].Shape; !slices.Equal(got, []int{n, 2}) {
		t.Errorf("request %g: output shape %v, expected [%d 2]", v, got, n)
	}
	for _, y := range tensor.Of[float32](c.Outputs[0]) {
		if y != v+1 {
			t.Errorf("request %g: output %g, expected %g", v, y, v+1)
		}
	}
	return c.Timing, nil
}

// send starts n requests of one row, in order, that must succeed.
func send(t *testing.T, b *Batcher, wg *sync.WaitGroup, from, n int) {
	for i := range n {
		wg.Go(func() {
			if _, err := call(t, b, context.Background(), float32(from+i), 1); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
	}
}

func TestQueuedRequestsRunTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		b := newBatcher(t, f.run, Options{MaxRows: 4})
		var wg sync.WaitGroup
		send(t, b, &wg, 0, 8)
		if n := b.Waiting(); n != 7 {
			t.Errorf("%d wait, expected 7", n)
		}
		wg.Wait()
		f.want(t, 1, 4, 3)
		if f.released != 3 {
			t.Errorf("%d executions released, expected 3", f.released)
		}
	})
}

func TestIdleInstanceRunsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		b := newBatcher(t, f.run, Options{MaxRows: 4, Instances: 2})
		start := time.Now()
		var wg sync.WaitGroup
		send(t, b, &wg, 0, 3)
		wg.Wait()
		f.want(t, 1, 1, 1)
		if d := time.Since(start); d != 2*time.Second {
			t.Errorf("took %v, expected 2s: two at once, then one", d)
		}
	})
}

func TestTimingSaysWhereTimeWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		b := newBatcher(t, f.run, Options{MaxRows: 4})
		var wg sync.WaitGroup
		send(t, b, &wg, 0, 1)
		var got [2]Timing
		for i := range 2 {
			wg.Go(func() { got[i], _ = call(t, b, context.Background(), float32(i), 1) })
		}
		wg.Wait()
		want := Timing{Queue: time.Second, Infer: time.Second, Rows: 2, Requests: 2}
		if got[0] != want || got[1] != want {
			t.Errorf("timings %+v, expected %+v", got, want)
		}
	})
}

func TestDelayAndPreferredSizes(t *testing.T) {
	tests := []struct {
		name  string
		o     Options
		sends int
		sizes []int
		takes time.Duration // until the last answer, of executions that take 1s
	}{
		{"delay over", Options{MaxRows: 8, MaxDelay: 100 * time.Millisecond}, 3, []int{3}, 1100 * time.Millisecond},
		{"full before the delay", Options{MaxRows: 3, MaxDelay: time.Hour}, 3, []int{3}, time.Second},
		{"preferred before the delay", Options{MaxRows: 8, Preferred: []int{2, 4}, MaxDelay: time.Hour}, 4, []int{2, 2}, 2 * time.Second},
		{"preferred without a delay", Options{MaxRows: 8, Preferred: []int{4}}, 7, []int{1, 4, 2}, 3 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fake{takes: time.Second}
				b := newBatcher(t, f.run, tt.o)
				start := time.Now()
				var wg sync.WaitGroup
				send(t, b, &wg, 0, tt.sends)
				wg.Wait()
				f.want(t, tt.sizes...)
				if d := time.Since(start); d != tt.takes {
					t.Errorf("took %v, expected %v", d, tt.takes)
				}
			})
		})
	}
}

func TestRequestsOfOtherShapesAreNotMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		b := newBatcher(t, f.run, Options{MaxRows: 8})
		var wg sync.WaitGroup
		send(t, b, &wg, 0, 1)
		for i := range 4 {
			wg.Go(func() {
				in := []*tensor.Tensor{tensor.FromSlice(make([]float32, 2+i%2), 1, 2+i%2)}
				c, err := b.Do(context.Background(), in, 0, 0)
				if err != nil {
					t.Error(err)
					return
				}
				if c.Outputs[0].Shape[1] != 2+i%2 {
					t.Errorf("output %v for %v", c.Outputs[0], in[0])
				}
				c.Release()
			})
			synctest.Wait()
		}
		wg.Wait()
		f.want(t, 1, 2, 2)
	})
}

func TestRowsAreCountedNotRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		b := newBatcher(t, f.run, Options{MaxRows: 6})
		var wg sync.WaitGroup
		for i, n := range []int{1, 3, 2, 9, 0, 4} {
			wg.Go(func() {
				if _, err := call(t, b, context.Background(), float32(i), n); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		f.want(t, 1, 5, 9, 4) // 9 is above the maximum: it runs alone; 0 rows go with the next
	})
}

func TestSizesAreRoundedDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		b := newBatcher(t, f.run, Options{MaxRows: 16, Sizes: Steps(16)})
		var wg sync.WaitGroup
		send(t, b, &wg, 0, 12)
		wg.Wait()
		f.want(t, 1, 8, 3)
		f.sizes = nil
		for i, n := range []int{1, 5, 5, 2} { // 5 and 10 are no sizes, 12 is one
			wg.Go(func() {
				if _, err := call(t, b, context.Background(), float32(i), n); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		f.want(t, 1, 12)
	})
	for most, want := range map[int][]int{1: {1}, 2: {1, 2}, 5: {1, 2, 3, 4, 5}, 64: {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64}} {
		if got := Steps(most); !slices.Equal(got, want) {
			t.Errorf("Steps(%d) = %v, expected %v", most, got, want)
		}
	}
}

func TestCanceledWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		b := newBatcher(t, f.run, Options{MaxRows: 4})
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		send(t, b, &wg, 0, 1) // runs until 1s
		wg.Go(func() {        // runs together with the next until 2s
			start := time.Now()
			if _, err := call(t, b, ctx, 1, 1); !errors.Is(err, context.Canceled) || time.Since(start) != 1500*time.Millisecond {
				t.Errorf("got %v after %v, expected to leave a running batch at once", err, time.Since(start))
			}
		})
		send(t, b, &wg, 2, 1)
		time.Sleep(1500 * time.Millisecond)
		cancel()
		wg.Wait()
		f.want(t, 1, 2)
		if f.released != 2 {
			t.Errorf("released %d", f.released)
		}
	})
}

func TestBatchStopsWhenAllHaveGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		b := newBatcher(t, f.run, Options{MaxRows: 4})
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		send(t, b, &wg, 0, 1)
		for range 2 {
			wg.Go(func() {
				if _, err := call(t, b, ctx, 1, 1); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		time.Sleep(1200 * time.Millisecond)
		cancel()
		synctest.Wait()
		start := time.Now()
		if _, err := call(t, b, context.Background(), 3, 1); err != nil || time.Since(start) != time.Second {
			t.Errorf("%v after %v: the instance was not free", err, time.Since(start))
		}
		wg.Wait()
		f.want(t, 1, 2, 1)
	})
}

func TestRequestsFaultIsItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		f.fail = func(in []*tensor.Tensor) error {
			if slices.Contains(tensor.Of[float32](in[0]), 3) {
				return errors.New("3 is bad")
			}
			return nil
		}
		b := newBatcher(t, f.run, Options{MaxRows: 8})
		var wg sync.WaitGroup
		send(t, b, &wg, 0, 3)
		wg.Go(func() {
			if _, err := call(t, b, context.Background(), 3, 1); err == nil || err.Error() != "3 is bad" {
				t.Errorf("got %v", err)
			}
		})
		wg.Wait()
		f.want(t, 1, 3, 1, 1, 1)
	})
}

func TestBatchWithMissingRowsIsNotSplit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second, broken: true}
		b := newBatcher(t, f.run, Options{MaxRows: 8})
		var wg sync.WaitGroup
		send(t, b, &wg, 0, 3)
		wg.Wait()
		f.want(t, 1, 2, 1, 1)
		if f.released != 4 {
			t.Errorf("%d executions released, expected 4", f.released)
		}
	})
}

func TestPreserveOrdering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := func(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, func(), error) {
			v := tensor.Of[float32](in[0])[0]
			time.Sleep(time.Duration(10-v) * time.Second) // later requests are faster
			return in, func() {}, nil
		}
		b := newBatcher(t, run, Options{MaxRows: 1, Instances: 3, PreserveOrdering: true})
		var answered [6]time.Time
		var wg sync.WaitGroup
		for i := range answered {
			wg.Go(func() {
				c, err := b.Do(context.Background(), req(float32(i), 1), 0, 0)
				if err != nil {
					t.Error(err)
					return
				}
				answered[i] = time.Now()
				c.Release()
			})
			synctest.Wait()
		}
		wg.Wait()
		if !slices.IsSortedFunc(answered[:], time.Time.Compare) {
			t.Errorf("answers left at %v", answered)
		}
	})
}

func TestStringsAndSeveralInputs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := func(ctx context.Context, in []*tensor.Tensor) ([]*tensor.Tensor, func(), error) {
			time.Sleep(time.Second)
			return []*tensor.Tensor{in[0], in[2]}, func() {}, nil
		}
		b := newBatcher(t, run, Options{MaxRows: 8})
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				s := []string{fmt.Sprint("a", i), fmt.Sprint("b", i)}
				in := []*tensor.Tensor{tensor.FromStrings(s, 1, 2), nil, tensor.FromSlice([]int64{int64(i)}, 1)}
				c, err := b.Do(context.Background(), in, 0, 0)
				if err != nil {
					t.Error(err)
					return
				}
				if !slices.Equal(c.Outputs[0].Strings, s) || tensor.Of[int64](c.Outputs[1])[0] != int64(i) {
					t.Errorf("request %d got %v %v", i, c.Outputs[0].Strings, c.Outputs[1])
				}
				c.Release()
			})
			synctest.Wait()
		}
		wg.Wait()
	})
}

func TestUnbatchedRunsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		b := newBatcher(t, f.run, Options{MaxRows: 8, Unbatched: true, MaxDelay: time.Minute})
		var wg sync.WaitGroup
		send(t, b, &wg, 0, 3)
		wg.Wait()
		f.want(t, 1, 1, 1)
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{takes: time.Second}
		b := newBatcher(t, f.run, Options{MaxRows: 8})
		var wg sync.WaitGroup
		send(t, b, &wg, 0, 1)
		wg.Go(func() {
			if _, err := call(t, b, context.Background(), 1, 1); !errors.Is(err, ErrClosed) {
				t.Errorf("a queued request got %v", err)
			}
		})
		synctest.Wait()
		b.Close()
		wg.Wait()
		if _, err := call(t, b, context.Background(), 1, 1); !errors.Is(err, ErrClosed) {
			t.Errorf("a later request got %v", err)
		}
	})
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []Options{{MaxRows: 4, Preferred: []int{5}}, {Preferred: []int{0}}, {DefaultLevel: 2}} {
		if _, err := New(nil, o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}

// TestChaos sends many requests that are canceled at random; run it with -race.
func TestChaos(t *testing.T) {
	f := &fake{takes: 20 * time.Microsecond}
	f.fail = func(in []*tensor.Tensor) error {
		if slices.Contains(tensor.Of[float32](in[0]), 13) {
			return errors.New("unlucky")
		}
		return nil
	}
	b := newBatcher(t, f.run, Options{MaxRows: 8, Instances: 2, Levels: make([]Policy, 2)})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for j := range 300 {
				patience := time.Duration(j%40) * 5 * time.Microsecond
				if j%7 == 0 {
					patience = time.Minute
				}
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				_, err := call(t, b, ctx, float32((i+j)%50), 1+j%4)
				cancel()
				if err != nil && !errors.Is(err, context.DeadlineExceeded) && ((i+j)%50 != 13 || err.Error() != "unlucky") {
					t.Errorf("request failed: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for b.busy() {
		time.Sleep(time.Millisecond)
	}
	if f.released == 0 || b.Waiting() != 0 {
		t.Errorf("%d released, %d waiting", f.released, b.Waiting())
	}
}

// busy reports whether executions run that nobody waits for.
func (b *Batcher) busy() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.idle < b.o.Instances
}
