package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

func compare(o *options) error {
	debug.SetGCPercent(800) // the load generator's own collections are nobody's latency
	list, err := protocols(o.only)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	echo, err := start("echo", o.serverCPUs, self, func(h, g string) []string { return []string{"echo", h, g} })
	if err != nil {
		return err
	}
	defer echo.stop()
	salver, err := start("salver", o.serverCPUs, o.salver, func(h, g string) []string {
		return append(o.salverFlags(), "--http", h, "--grpc", g)
	})
	if err != nil {
		return err
	}
	defer salver.stop()
	for _, s := range []*server{echo, salver} {
		if err := s.wait("/v2/health/ready"); err != nil {
			return err
		}
	}
	for i := range list {
		if err := o.compareOne(&list[i], echo, salver); err != nil {
			return err
		}
	}
	return nil
}

func (o *options) compareOne(p *protocol, echo, salver *server) error {
	var ratios []float64
	var best [2]result
	failures := int64(0)
	fmt.Printf("%s, %d connections, %d rounds of %g s each\n", p.name, o.connections, o.rounds, o.seconds)
	for range o.rounds {
		var rate [2]float64
		for i, s := range []*server{echo, salver} {
			r, err := closedLoop(p, s, o.connections, o.seconds)
			if err != nil {
				return err
			}
			fmt.Printf("  %-7s %v\n", s.name, r)
			rate[i] = r.rate
			failures += r.failures
			if r.rate > best[i].rate {
				best[i] = *r
			}
		}
		ratios = append(ratios, rate[1]/rate[0])
	}
	slices.Sort(ratios)
	fmt.Printf("  ratio   median %.2f (%.2f to %.2f), of the best rounds %.2f; server CPU %.2f; %d failures\n",
		ratios[len(ratios)/2], ratios[0], ratios[len(ratios)-1], best[1].rate/best[0].rate, best[0].cpu/best[1].cpu, failures)
	if o.openSeconds == 0 {
		return nil
	}
	return o.fixedRate(p, echo, salver, best[1].rate/2)
}

// fixedRate measures latency at a rate, and that of the echo server at the
// same rate, which shows what the machine and the load generator add.
func (o *options) fixedRate(p *protocol, echo, salver *server, rate float64) error {
	for range max(1, o.rounds/2) {
		one, err := closedLoop(p, salver, 1, 1)
		if err != nil {
			return err
		}
		service := max(one.quantile(.5)-o.delay, 0)
		bound := o.delay + 3*service
		fmt.Printf("  at %.0f/s; one request alone %v; bound %v\n", rate, micros(service), micros(bound))
		name, _, _ := strings.Cut(p.name, "-") // of the metrics
		before, err := salver.readInside(name)
		if err != nil {
			return err
		}
		for _, s := range []*server{echo, salver} {
			r, err := openLoop(p, s, rate, o.openSeconds)
			if err != nil {
				return err
			}
			fmt.Printf("    %-7s %v  p90 %v  %d failures\n", s.name, r, micros(r.quantile(.9)), r.failures)
		}
		after, err := salver.readInside(name)
		if err != nil {
			return err
		}
		fmt.Printf("            %s\n", after.since(before))
		time.Sleep(100 * time.Millisecond)
	}
	return nil
}
