package main

import "fmt"

// load asks a server that runs already, to watch it with a profiler.
func load(o *options) error {
	list, err := protocols(o.only)
	if err != nil {
		return err
	}
	s := &server{name: "server", http: o.http, grpc: o.grpc}
	for i := range list {
		for range o.rounds {
			r, err := closedLoop(&list[i], s, o.connections, o.seconds)
			if err != nil {
				return err
			}
			fmt.Printf("%s %v, %d failures\n", list[i].name, r, r.failures)
		}
	}
	return nil
}
