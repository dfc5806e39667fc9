// Package tune measures which kernels of a model are the fastest on this machine,
// and keeps what it found in a cache.
//
// # What is chosen
//
// Operators ask for choices while they are compiled ([op.Prep.Choose]): how work is
// cut, which register tiles are used, the algorithm. Almost all of them give the
// same bits. Those that don't ([op.Choice.Arithmetic]) are made for a layer of one
// model, whatever the batch and the threads, so that the answer to a request
// depends on the model and the machine alone (docs/NUMERICS.md).
//
// # How it is measured
//
// Layers with the same operator, attributes and shapes are measured once
// ([Signature]), each on its own with operands of its own. Before a run the
// second-level cache is filled with other data, and the third-level one too if the model
// is larger, and the operands are written anew, as within a model. The options of one choice are measured in turns, and the best
// run of each counts; the next choice is made with the best option of the last. An
// option replaces the default only if it is faster by more than what noise does.
//
// # The cache
//
// A [Cache] is a JSON file for one host: processor, instruction-set level and
// version of the program. That of another host is refused. With it the same
// kernels are chosen every time.
package tune
