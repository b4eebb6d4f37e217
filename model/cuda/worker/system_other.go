//go:build !linux

package worker

import (
	"errors"
	"net"
	"os"
	"syscall"
)

// Where there are no cards, there are no workers: [Open] has said so before any of these is called.

const program = ""

var errNoWorkers = errors.New("cards are driven on Linux alone")

func pair() (*net.UnixConn, *os.File, error)       { return nil, nil, errNoWorkers }
func connection(*os.File) (*net.UnixConn, error)   { return nil, errNoWorkers }
func send(*net.UnixConn, []byte, []*os.File) error { return errNoWorkers }
func attributes() *syscall.SysProcAttr             { return nil }

func receive(*net.UnixConn) (header, []byte, []*os.File, error) {
	return header{}, nil, nil, errNoWorkers
}

func newRoom(int64) (*room, error) { return nil, errNoWorkers }
func (r *room) seal() error        { return errNoWorkers }
