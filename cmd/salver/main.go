// Command salver optimizes neural networks and serves them.
package main

import (
	"os"

	"github.com/salver-ml/salver/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
