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

func pairs() (work, talk *net.UnixConn, theirs []*os.File, err error) {
	return nil, nil, nil, errNoWorkers
}
func connection(*os.File) (*net.UnixConn, error)   { return nil, errNoWorkers }
func send(*net.UnixConn, []byte, []*os.File) error { return errNoWorkers }
func attributes() *syscall.SysProcAttr             { return nil }

type line struct{}

func newLine(int) (*line, error)          { return nil, errNoWorkers }
func (*line) Write(b []byte) (int, error) { return 0, errNoWorkers }
func (*line) receive() (header, []byte, []*os.File, error) {
	return header{}, nil, nil, errNoWorkers
}

func newRoom(int64) (*room, error) { return nil, errNoWorkers }
func (r *room) seal() error        { return errNoWorkers }
