package fuse

import "github.com/salver-ml/salver/internal/ir"

// ActivationOf names the activation that a node computes of its input 0, in the
// vocabulary of the fused operators, with its parameters.
func ActivationOf(n *ir.Node) (name string, params []float32, ok bool) { return activationOf(n) }
