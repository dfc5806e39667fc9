// Package serve is the core of the model server: it owns the loaded models and
// answers inference requests. Transports (HTTP, gRPC) decode a request, call
// Core and encode the answer; they hold no state of their own.
//
// # Answering a request
//
//	resp, err := core.Infer(ctx, &serve.Request{
//		Model:  "digits",                                     // Version "" is the default one
//		Inputs: []serve.NamedTensor{{Name: "image", Tensor: t}},
//		Protocol: "http",
//	})
//	if err != nil {
//		e := serve.AsError(err)  // e.Kind → status, e.Message → body, e.RetryAfter → header
//	}
//	defer resp.Release()         // after the outputs are encoded: their memory is reused
//
// The request's tensors, and the bytes they alias, stay untouched until
// Infer has returned an error or Release is called; so a transport may decode binary tensors in place over the
// body and recycle it afterwards. Outputs come in the order of Request.Outputs, or all of them in the model's order.
//
// ctx carries the client's deadline and disconnection: a request that is still
// queued leaves the queue at once; one that runs is told so and answered as soon as that is safe.
//
// # Errors
//
// Every error is an *Error with a Kind; the constants' comments give the status
// codes. Messages are for clients. A panic in a backend fails the request that caused it
// with Internal, and its text goes to the log only.
//
// # Models
//
// Register adds a model that is already in memory. Options.Repositories and
// LoadAll bring in those on disk; Load and Unload work on them one by one where
// Options.Control is ControlExplicit. A load of a loaded model replaces it
// without an interruption: requests that began on the old one end there.
//
// # What a server tells
//
// Live, Ready, ModelReady, Metadata, Config, Labels, Statistics and Index
// answer the protocols' other calls; Metrics, Refused and States are for the metrics. Package servetest has a fake Backend for tests.
//
// # The end
//
// On a signal: PrepareShutdown (Ready turns false, requests are still
// answered), stop the transports' listeners and let them finish, then Shutdown
// (new requests get Unavailable, accepted ones are finished, models are closed).
package serve
