package main

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// result is one measurement.
type result struct {
	rate     float64 // answers per second
	cpu      float64 // of the server per answer, in seconds
	client   float64 // of the load generator
	failures int64
	times    []time.Duration // ascending
}

func (r *result) quantile(q float64) time.Duration {
	if len(r.times) == 0 {
		return 0
	}
	return r.times[min(int(q*float64(len(r.times))), len(r.times)-1)]
}

func (r *result) String() string {
	return fmt.Sprintf("%8.0f/s  p50 %v  p99 %v  CPU per answer: server %.1f µs, client %.1f", r.rate, micros(r.quantile(.5)), micros(r.quantile(.99)), r.cpu*1e6, r.client*1e6)
}

func micros(d time.Duration) time.Duration { return d.Round(time.Microsecond) }

// meter measures what answers cost.
type meter struct {
	server            *server
	begin             time.Time
	serverCPU, ownCPU time.Duration
}

func startMeter(s *server) *meter { return &meter{s, time.Now(), s.cpu(), ownCPU()} }

func (m *meter) read(r *result) {
	took := time.Since(m.begin).Seconds()
	n := float64(max(len(r.times), 1))
	r.rate = float64(len(r.times)) / took
	r.cpu = (m.server.cpu() - m.serverCPU).Seconds() / n
	r.client = (ownCPU() - m.ownCPU).Seconds() / n
	slices.Sort(r.times)
}

func dialAll(p *protocol, s *server, n int) (clients []client, err error) {
	for range n {
		c, err := p.dial(s)
		if err != nil {
			return nil, err
		}
		clients = append(clients, c)
		if err := c.ask(); err != nil { // connects, and warms the server
			return nil, fmt.Errorf("%s over %s: %w", s.name, p.name, err)
		}
	}
	return clients, nil
}

// closedLoop has n clients that each ask again as soon as they have an answer.
func closedLoop(p *protocol, s *server, n int, seconds float64) (*result, error) {
	clients, err := dialAll(p, s, n)
	if err != nil {
		return nil, err
	}
	var r result
	var mu sync.Mutex
	var wg sync.WaitGroup
	var stop atomic.Bool
	meter := startMeter(s)
	for _, c := range clients {
		wg.Go(func() {
			defer c.close()
			var times []time.Duration
			failures := int64(0)
			for last := time.Now(); !stop.Load(); {
				err := c.ask()
				now := time.Now()
				if err != nil {
					failures++
					break
				}
				times = append(times, now.Sub(last))
				last = now
			}
			mu.Lock()
			defer mu.Unlock()
			r.times = append(r.times, times...)
			r.failures += failures
		})
	}
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	stop.Store(true)
	wg.Wait()
	meter.read(&r)
	return &r, nil
}
