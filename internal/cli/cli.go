// Package cli is the command line. One file per command.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1 // the command could not do what was asked
	exitMisuse  = 2 // the command line is wrong
)

// env is what commands read and write.
type env struct {
	in       io.Reader
	out, err io.Writer
	bar      io.Writer // takes the bars of long work; nil where nobody sees them
}

// misuse marks an error of the command line.
type misuse struct{ error }

func misusef(format string, args ...any) error { return misuse{fmt.Errorf(format, args...)} }

// errReported is an error that has been reported already.
var errReported = errors.New("reported")

// Main runs the command line and gives the exit status.
func Main(args []string, in io.Reader, out, errw io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	e := &env{in: in, out: harmless(out), err: harmless(errw)}
	if isTerminal(errw) {
		e.bar = errw
	}
	root := newRoot(e)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errReported):
		return exitFailure
	case errors.As(err, &misuse{}) || isUsage(err):
		fmt.Fprintf(errw, "salver: %s\nRun '%s --help' for usage.\n", forTerminal(err.Error()), cmd.CommandPath())
		return exitMisuse
	}
	fmt.Fprintf(errw, "salver: %s\n", forTerminal(interrupted(ctx, err).Error()))
	return exitFailure
}

// interrupted is err, or which signal ended the command if one did.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return context.Cause(ctx)
	}
	return err
}

// isUsage recognises the errors that the command-line library itself makes.
func isUsage(err error) bool {
	for _, s := range []string{"unknown command", "unknown flag", "unknown shorthand", "flag needs an argument", "invalid argument", "required flag"} {
		if strings.HasPrefix(err.Error(), s) {
			return true
		}
	}
	return false
}

func newRoot(e *env) *cobra.Command {
	root := &cobra.Command{
		Use:           "salver",
		Short:         "Optimize neural networks and serve them",
		Long:          "salver takes trained networks as they come, makes them small and fast, and serves\nthem to the clients people already have.",
		Example:       "  salver serve --demo\n  salver run model.onnx --input x=x.npy --output out\n  salver run model.gguf \"Why is the sky blue?\"\n  salver bench model.onnx --threads 2",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(e.in)
	root.SetOut(e.out)
	root.SetErr(e.err)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return misuse{flagError(err)} })
	root.AddCommand(newServe(e), newRun(e), newBench(e), newCheck(e), newOptimize(e), newQuantize(e), newExplain(e), newTune(e), newTokenize(e), newPerplexity(e), newCompare(e), newVersion(e))
	for _, c := range root.Commands() {
		if c.Args != nil {
			sayUsage(c)
		}
	}
	return root
}

// flagError says what a flag expects, where Go's errors name its own functions.
func flagError(err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	expected := ""
	switch kind := bad.GetFlag().Value.Type(); {
	case errors.Is(err, strconv.ErrRange):
		expected = "it is too large"
	case strings.HasPrefix(kind, "uint"):
		expected = "expected a whole number, 0 or more"
	case kind == "intSlice":
		expected = "expected whole numbers with commas between them"
	case strings.HasPrefix(kind, "int"):
		expected = "expected a whole number"
	case strings.HasPrefix(kind, "float"):
		expected = "expected a number"
	case kind == "bool":
		expected = "expected true or false"
	case kind == "duration":
		expected = "expected a time with its unit, such as 30s or 2m"
	default:
		expected = bad.Unwrap().Error()
	}
	return fmt.Errorf("--%s %s: %s", bad.GetFlag().Name, bad.GetValue(), expected)
}

// sayUsage makes a wrong number of arguments an error that says which are expected.
func sayUsage(c *cobra.Command) {
	check := c.Args
	c.Args = func(c *cobra.Command, args []string) error {
		if check(c, args) != nil {
			noun := "arguments"
			if len(args) == 1 {
				noun = "argument"
			}
			return misusef("expected %s, found %d %s", c.UseLine(), len(args), noun)
		}
		return nil
	}
}

// apart refuses to write over what is read. What is not there is left to who reads it.
func apart(in, out string) error {
	a, err := os.Stat(in)
	if err != nil {
		return nil
	}
	if b, err := os.Stat(out); err == nil && os.SameFile(a, b) {
		return misusef("%s is read too: expected another file", out)
	}
	return nil
}
