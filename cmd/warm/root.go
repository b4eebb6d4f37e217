package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/warmserve/warmserve/cmd/warm/bench"
	"github.com/warmserve/warmserve/model"
	"github.com/warmserve/warmserve/model/device"
	"github.com/warmserve/warmserve/model/kernel"
	"github.com/warmserve/warmserve/trainer/state"
)

// Exit codes.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitInterrupted = 130 // by a signal: a shell's 128 + SIGINT
)

// usageError is a mistake in the command line or the configuration: the program
// exits with 2 and did nothing.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// program is what the commands share of the world around them.
type program struct {
	getenv         func(string) string
	stdin          io.Reader
	stdout, stderr io.Writer
	exit           func(code int) // ends the process
	// devices opens what computes; nil is device.Open.
	devices func(name string, o device.Options) (e model.Engine, why, err error)
}

// run executes the command line and returns the exit code. Results go to
// stdout, messages for people to stderr.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout,
	stderr io.Writer) int {
	p := &program{getenv: getenv, stdin: stdin, stdout: stdout, stderr: stderr, exit: os.Exit}
	return p.run(ctx, args)
}

// run executes the command line and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	root, stderr := p.root(), p.stderr
	root.SetArgs(args)
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(stderr)
	restore, err := p.useLevel()
	defer restore()
	if err == nil {
		err = root.ExecuteContext(ctx)
	}
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "%s %s\n", painted(stderr).as(red, "warm:"), strings.TrimPrefix(err.Error(), "warm: ")) // a package has the same name
	switch {
	case errors.As(err, new(usageError)), errors.As(err, new(bench.UsageError)):
		return exitUsage
	case ctx.Err() != nil && isInterruption(err):
		return exitInterrupted
	}
	return exitFailure
}

// levelVariable names the CPU level of every command.
const levelVariable = "WARM_CPU_LEVEL"

// useLevel sets the CPU level that the environment names, if any, and returns what sets
// it back.
func (p *program) useLevel() (restore func(), err error) {
	name := p.getenv(levelVariable)
	if name == "" {
		return func() {}, nil
	}
	l, err := kernel.ParseLevel(name)
	if err != nil {
		return func() {}, usagef("%s: %w", levelVariable, err)
	}
	return kernel.SetLevel(l), nil
}

// isInterruption says whether a command ended because its context did.
func isInterruption(err error) bool {
	return errors.Is(err, state.ErrInterrupted) || errors.Is(err, context.Canceled)
}

// atOnce ends the process when ctx does: for commands that have nothing to save. stop ends
// the watch.
func (p *program) atOnce(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() {
		fmt.Fprintln(p.stderr, "warm: interrupted")
		p.exit(exitInterrupted)
	})
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "warm",
		Short: "Serve weight-averaged reward models",
		Long: `warm turns M reward models, fine-tuned from one shared initialisation, into one
weight average (WARM, arXiv 2401.12187) and serves it to reinforcement-learning loops.

Start with "warm serve", which serves a small model of its own, or with
"warm check DIR…" to see what your checkpoints would be served as.
"warm completion SHELL --help" says how a shell completes commands and flags.`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          arguments(cobra.NoArgs),
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },

		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return checkOut(c) },
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w (see %s --help)", suggest(c, err), c.CommandPath())
	})
	root.AddCommand(p.serve(), p.average(), p.check(), p.pull(), p.score(), p.train(), p.rl(),
		p.eval(), p.generate(), p.bench(), p.plan(), p.embedded(), p.lab(), p.health(), p.version())
	return root
}

// arguments is cobra.ExactArgs and the like as a usage error, with what may have been meant.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		err := check(c, args)
		if err == nil {
			return nil
		}
		if len(args) > 0 && cobra.NoArgs(c, nil) == nil && check(c, nil) == nil {
			err = unwanted(c, args)
		}
		return usagef("%w (see %s --help)", err, c.CommandPath())
	}
}

// unwanted is the error of arguments to a command that takes none.
func unwanted(c *cobra.Command, args []string) error {
	if !c.HasSubCommands() {
		return fmt.Errorf("%s takes flags alone, not %q", named(c), args[0])
	}
	err := fmt.Errorf("unknown command %q", args[0])
	if c.HasParent() {
		err = fmt.Errorf("%w for %q", err, named(c))
	}
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("%w: did you mean %s?", err, strings.Join(near, ", "))
	}
	return err
}

// named is the command without the program's name, which stands before every error.
func named(c *cobra.Command) string { return strings.TrimPrefix(c.CommandPath(), "warm ") }
