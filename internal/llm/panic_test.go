package llm

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/salver-ml/salver/internal/exec"
	"github.com/salver-ml/salver/internal/llm/kv"
	"github.com/salver-ml/salver/internal/textgen"
)

// A defect fails what is in progress; what comes after it is answered as if nothing had been.
func TestEngineOutlivesPanics(t *testing.T) {
	for name, spoil := range map[string]func([][]float32) [][]float32{
		"a step":       func([][]float32) [][]float32 { panic("a defect") },
		"notes":        func([][]float32) [][]float32 { return nil },
		"other thread": func(rows [][]float32) [][]float32 { return make([][]float32, len(rows)) },
	} {
		t.Run(name, func(t *testing.T) {
			m := newFakeModel(t)
			step, spoiled := 0, 5
			run := func(ctx context.Context, w []work) ([][]float32, error) {
				rows, err := m.run(ctx, w)
				if step++; step == spoiled {
					rows = spoil(rows)
				}
				return rows, err
			}
			e := (&engine{run: run, copy: m.copy, packing: packing{piece: func() bool { panic("packing") }}, pool: m.pool, sched: newScheduler(blocksFor(512), 32, 4, true), eos: []int32{1}, context: 512, maxQueue: 100}).start()
			defer e.close()
			want := tokensOf(t, m.engine(512, 32, 4), ask([]int32{3, 4, 5}, 12))

			var qs []*request
			for i := range 9 { // more than run at once
				r := ask([]int32{2, 3, int32(i)}, 12)
				r.N, r.Logprobs = 1+i%3, 1
				q := &request{Request: r, choices: r.N, arrived: time.Now(), out: newQueue()}
				if err := e.submit(q); err != nil {
					t.Fatal(err)
				}
				qs = append(qs, q)
			}
			failed := 0
			for i, q := range qs {
				for open := q.choices; open > 0; {
					select {
					case <-q.out.ready:
					case <-time.After(10 * time.Second):
						t.Fatalf("request %d gets no answer", i)
					}
					for _, p := range q.out.take(nil) {
						if p.finish != "" {
							open--
						}
						if p.err == nil {
							continue
						}
						if !errors.As(p.err, new(*exec.PanicError)) {
							t.Errorf("request %d: %v", i, p.err)
						}
						failed, open = failed+1, 0
					}
				}
			}
			if failed == 0 {
				t.Error("nothing failed")
			}
			if got := tokensOf(t, e, ask([]int32{3, 4, 5}, 12)); !slices.Equal(got[0], want[0]) {
				t.Errorf("afterwards: got %v, expected %v", got, want)
			}
			s := e.snapshot()
			if s.Running != 0 || s.Waiting != 0 || s.BlocksUsed != 0 || s.Requests["error"] != uint64(failed) || s.Requests[string(textgen.FinishLength)] != uint64(len(qs)-failed+1) {
				t.Errorf("afterwards: %d running, %d waiting, %d of %d blocks of %d used, requests %v of which %d failed", s.Running, s.Waiting, s.BlocksUsed, s.BlocksAll, kv.BlockTokens, s.Requests, failed)
			}
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.waiting != 0 {
				t.Errorf("afterwards: %d requests count as waiting", e.waiting)
			}
		})
	}
}

// A request whose events can't be taken is not computed any further.
func TestPanicOfEmitEndsTheRequest(t *testing.T) {
	m := stories(t, "f32", Options{})
	func() {
		defer func() { recover() }()
		m.Generate(t.Context(), ask([]int32{1, 5}, 0), func(*textgen.Event) error { panic("a defect") })
	}()
	for start := time.Now(); m.Stats().Requests["abort"] != 1; time.Sleep(time.Millisecond) {
		if time.Since(start) > 30*time.Second || m.Stats().Requests["length"] > 0 {
			t.Fatalf("it is computed to its end: %v", m.Stats().Requests)
		}
	}
}
