// Command warm serves, averages, checks and measures reward models.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/warmserve/warmserve/model/cuda/worker"
)

func main() {
	worker.Main()
	ctx, stop := untilSignal()
	limitMemory(os.Getenv)
	code := run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// untilSignal returns a context that ends with the first SIGINT or SIGTERM. A
// second one ends the program at once.
func untilSignal() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}
