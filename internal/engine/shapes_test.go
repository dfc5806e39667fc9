package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/salver-ml/salver/internal/dtype"
	"github.com/salver-ml/salver/internal/engine"
	"github.com/salver-ml/salver/internal/pool"
	"github.com/salver-ml/salver/internal/tensor"
)

// Runs of different shapes at once, some of which a plan moves on to, some of which keep
// theirs and some of which break a tie, give the bits that each gives alone; those that are
// cancelled on their way disturb no others.
func TestManyShapesAtOnce(t *testing.T) {
	b := decoderFile(t)
	alone, err := engine.Parse(b, engine.Options{Level: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	rng := rand.New(rand.NewPCG(5, 5))
	type request struct{ in, want []*tensor.Tensor }
	var requests []request
	for i := range 40 {
		seq, past := 1+i%3, i/2
		total := past + seq
		if i%8 == 7 {
			total = 1
		}
		r := request{in: []*tensor.Tensor{tensor.New(dtype.Float32, 1, seq, 4), tensor.New(dtype.Float32, 1, seq, 4), tensor.New(dtype.Float32, 1, past, 4), tensor.New(dtype.Float32, 1, 1, total)}}
		for _, x := range r.in {
			for i := range tensor.Of[float32](x) {
				tensor.Of[float32](x)[i] = rng.Float32()
			}
		}
		if r.want, err = alone.Run(context.Background(), r.in); err != nil {
			t.Fatal(err)
		}
		requests = append(requests, r)
	}
	threads := pool.New(2)
	defer threads.Close()
	e, err := engine.Parse(b, engine.Options{Level: 3, Pool: threads})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var all sync.WaitGroup
	failed := make(chan error, 32)
	for g := range 32 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 6))
			for range 20 {
				r := requests[rng.IntN(len(requests))]
				ctx, cancel := context.WithCancel(context.Background())
				if rng.IntN(4) == 0 {
					go cancel()
				}
				got, err := e.Run(ctx, r.in)
				stopped := ctx.Err() != nil
				cancel()
				if errors.Is(err, context.Canceled) && stopped {
					continue
				}
				for i := range r.want {
					if err != nil || !bytes.Equal(got[i].Data, r.want[i].Data) {
						failed <- fmt.Errorf("%v: output %d is not what it is alone, %v", r.in, i, err)
						return
					}
				}
			}
		})
	}
	all.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
}
