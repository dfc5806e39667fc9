// Command serving measures salver's server.
//
//	serving compare    requests/s over HTTP and gRPC against an echo server on the
//	                   same libraries, then latency at half the rate it reached
//	serving coldstart  time from the start of the program to its first answer
//	serving drain      SIGTERM under load: are requests lost?
//	serving load       requests to a server that runs already, to profile it
//	serving echo       the echo server, which compare starts by itself
//
// Build salver first: CGO_ENABLED=0 go build -o salver ./cmd/salver. All programs
// share one machine; servers are measured in turns, so that what else runs there
// meets both, and what counts is the ratio. To keep the load generator off the
// servers' processor: taskset -c 1 ./serving compare -server-cpus 0.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"time"
)

type options struct {
	salver      string
	flags       string
	only        string
	model       string
	connections int
	rounds      int
	seconds     float64
	openSeconds float64
	delay       time.Duration
	runs        int
	http, grpc  string
	serverCPUs  string
}

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "serving: expected compare, drain, load, coldstart or echo")
		os.Exit(2)
	}
	var o options
	fs := flag.NewFlagSet("serving "+os.Args[1], flag.ExitOnError)
	fs.StringVar(&o.salver, "salver", "./salver", "the salver program")
	fs.StringVar(&o.flags, "flags", "", "more flags for salver serve")
	fs.StringVar(&o.only, "only", "", "one of http-binary, http-json, grpc")
	fs.StringVar(&o.model, "model", "", "coldstart: a model with one float32 input, instead of the demo's")
	fs.IntVar(&o.connections, "connections", 64, "clients that each wait for an answer before they ask again")
	fs.IntVar(&o.rounds, "rounds", 5, "turns of each server")
	fs.Float64Var(&o.seconds, "seconds", 2, "length of a turn")
	fs.Float64Var(&o.openSeconds, "open-seconds", 5, "length of the measurement at a fixed rate; 0 leaves it out")
	fs.DurationVar(&o.delay, "delay", 0, "salver's --max-queue-delay")
	fs.IntVar(&o.runs, "runs", 20, "coldstart and drain: how often")
	fs.StringVar(&o.serverCPUs, "server-cpus", "", "processors of the servers, as taskset writes them; run this program itself under taskset on the others")
	fs.StringVar(&o.http, "http", "127.0.0.1:8000", "load: the server's address")
	fs.StringVar(&o.grpc, "grpc", "127.0.0.1:8001", "load: the server's address of gRPC")
	if err := fs.Parse(os.Args[2:]); err != nil {
		os.Exit(2)
	}
	var err error
	switch os.Args[1] {
	case "compare":
		err = compare(&o)
	case "load":
		err = load(&o)
	case "drain":
		err = drain(&o)
	case "coldstart":
		err = coldstart(&o)
	case "echo":
		err = echo(fs.Args())
	default:
		err = fmt.Errorf("expected compare, drain, load, coldstart or echo, found %s", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "serving:", err)
		os.Exit(1)
	}
}

func (o *options) salverFlags() []string {
	return append([]string{"serve", "--demo", "--log-level", "error", "--max-queue-delay", o.delay.String()}, strings.Fields(o.flags)...)
}
