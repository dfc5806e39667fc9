// Package exec runs graphs. A Session holds a graph and its packed weights; for
// each combination of input shapes it makes a Plan (types, kernels, places of
// all buffers in one arena) once and keeps it; each concurrent run of a plan
// has a frame of its own with an arena. Running allocates nothing but outputs.
//
// # The way of a run
//
// These files, in this order, are what a run passes:
//
//	session.go    Run finds the plan for the inputs' shapes, or makes it
//	ties.go       inputs of sizes for which the graph was not optimized go to a session of their own
//	inputs.go     what the caller can have done wrong
//	compile.go    a plan: the nodes that are needed, their types, a slot for each value, a kernel for each step
//	spaces.go     which provider computes a node, and copies where providers' memories meet
//	share.go      slots that are views of others, or take over their memory
//	stretch.go    the steps through which a large batch goes some rows at a time
//	move.go       the last plan moves on to shapes that are new in every run
//	layout.go     the places of the rest in the arena (package plan)
//	weights.go    packed weights, once for all plans, and constants that only packing reads
//	alike.go      nodes that pack the same
//	plan.go       a plan, and the frames it keeps between runs
//	frame.go      one run: the steps in their order
//	lane.go       the rounds of a stretch, each thread with its own
//	dynamic.go    steps whose shapes depend on data: compiled when they run
//	spare.go      the memory of what they compute, kept for the next run
//	subgraph.go   bodies of If, Loop and Scan: sessions of their own
//	panic.go      an operator that panics fails the run and spoils its frame
//
// rows.go proves that requests can be joined; profile.go measures steps; isolate.go
// takes one out of its plan, so that package tune can compare kernels for it.
package exec
