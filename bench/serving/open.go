package main

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// openLoop asks at random times that do not depend on the answers (a Poisson
// process), over as many connections as it takes. A request's time counts from
// when it was due, so that a server that falls behind can't hide it.
func openLoop(p *protocol, s *server, rate, seconds float64) (*result, error) {
	const connections = 128
	clients, err := dialAll(p, s, connections)
	if err != nil {
		return nil, err
	}
	due := make(chan time.Time, int(rate*seconds)+1)
	var r result
	var failures atomic.Int64
	var mu sync.Mutex
	var wg sync.WaitGroup
	meter := startMeter(s)
	for _, c := range clients {
		wg.Go(func() {
			defer c.close()
			var times []time.Duration
			for at := range due {
				if err := c.ask(); err != nil {
					failures.Add(1)
					continue
				}
				times = append(times, time.Since(at))
			}
			mu.Lock()
			defer mu.Unlock()
			r.times = append(r.times, times...)
		})
	}
	schedule(due, rate, seconds)
	wg.Wait()
	r.failures = failures.Load()
	meter.read(&r)
	return &r, nil
}

// schedule sends the times at which requests are due, when they are. It sleeps
// in the kernel: the runtime's timers are late by up to a millisecond when all processors are busy.
func schedule(due chan<- time.Time, rate, seconds float64) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(due)
	begin := time.Now()
	for at := 0.0; at < seconds; at += rand.ExpFloat64() / rate {
		t := begin.Add(time.Duration(at * float64(time.Second)))
		for {
			left := time.Until(t)
			if left <= 0 {
				break
			}
			ts := syscall.NsecToTimespec(left.Nanoseconds())
			syscall.Nanosleep(&ts, nil)
		}
		due <- t
	}
}
