//go:build !amd64 || noasm

package qconv

import "github.com/salver-ml/salver/internal/cpu"

func forLevel(cpu.Target) *kernels { return &portable }

func widen(dst, src []byte, flips byte) { portableWiden(dst, src, flips) }

func interleave3(dst, a, b, c []byte) { portableInterleave3(dst, a, b, c) }
