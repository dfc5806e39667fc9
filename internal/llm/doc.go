// Package llm is the language-model engine: it loads a model of a GGUF file or a
// Hugging Face folder, and answers any number of requests at once.
//
// # The way of a token
//
// These files, in this order, are the engine:
//
//	textgen.Model   what a request asks for and what comes back (package textgen)
//	generate.go     Generate checks a request, queues it, and waits
//	engine.go       the loop: one goroutine that goes round while there is work
//	sequence.go     request, sequence (an answer in the making), and the queue back to Generate
//	schedule.go     which tokens of which sequences the next step computes
//	kv              the blocks of the cache: who holds them, which prefixes they hold (package kv)
//	runner.go       computes a step in one run of the model's graph
//	choose.go       the next token of each sequence whose tokens are all computed
//	sample          how one is chosen from logits (package sample)
//	reader.go       text from tokens, stop strings, events to the caller
//
// Beside the way: packing.go and pages.go prepare weights and cache between steps, a piece
// at a time; stats.go counts; logits.go gives a text's logits instead of an answer.
// options.go and model.go make a model of what source.go, source_folder.go and
// weights_folder.go read, of which arch states the graph; files.go and tokenizer.go open one for other purposes.
// encode.go and pooling.go have the models that make vectors and scores.
//
// # Words
//
// A request has one prompt and as many sequences as it wants answers (choices): the
// first computes the prompt, the others are forked from it and share its blocks.
// A step is a run of the graph over some tokens of some sequences; the part of each is
// its work. A sequence waits, is admitted (has its blocks), runs until it is finished,
// or is preempted: gives its blocks back, waits again, and is computed anew.
//
// # What holds
//
// The answer to a request does not depend on the others: neither which tokens
// share a step, nor cached prefixes, nor preemption change a bit of its logits.
// The scheduler and the cache belong to the loop's goroutine and need no locks;
// what others reach is guarded by engine.mu. The engine never waits for a reader.
package llm
