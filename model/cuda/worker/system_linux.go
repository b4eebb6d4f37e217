package worker

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// program is this program's file, though another may have taken its name since.
const program = "/proc/self/exe"

// pair returns two connected sockets: ours, and the file of a worker's.
func pair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "worker")
	ours, err := connection(os.NewFile(uintptr(fds[0]), "worker"))
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// connection makes a connection of a socket, which it takes.
func connection(f *os.File) (*net.UnixConn, error) {
	defer func() { _ = f.Close() }()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, fmt.Errorf("%s is no socket of a worker", f.Name())
	}
	return u, nil
}

// send writes a frame, with a file where that is not nil.
func send(c *net.UnixConn, frame []byte, file *os.File) error {
	if file != nil {
		raw, err := file.SyscallConn()
		if err != nil {
			return err
		}
		n := 0
		var failed error
		err = raw.Control(func(fd uintptr) {
			n, _, failed = c.WriteMsgUnix(frame[:headerBytes], unix.UnixRights(int(fd)), nil)
		})
		if err = errors.Join(err, failed); err != nil {
			return err
		}
		frame = frame[n:]
	}
	_, err := c.Write(frame)
	return err
}

// receive reads a frame and the file that came with it, or nil.
func receive(c *net.UnixConn) (header, []byte, *os.File, error) {
	var b [headerBytes]byte
	var file *os.File
	oob := make([]byte, unix.CmsgSpace(4))
	for at := 0; at < headerBytes; {
		n, m, flags, _, err := c.ReadMsgUnix(b[at:], oob)
		if err == nil && n == 0 {
			err = net.ErrClosed
		}
		if err == nil && flags&unix.MSG_CTRUNC != 0 {
			err = errors.New("more than one file with a frame")
		}
		if err != nil {
			return header{}, nil, file, err
		}
		at += n
		if m > 0 {
			if file, err = fileOf(oob[:m]); err != nil {
				return header{}, nil, nil, err
			}
		}
	}
	h, err := parseHeader(b[:])
	if err != nil {
		return h, nil, file, err
	}
	payload, err := readPayload(c, h.size)
	return h, payload, file, err
}

// fileOf takes the file out of a control message.
func fileOf(oob []byte) (*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return nil, err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			return os.NewFile(uintptr(fd), "weights"), nil
		}
	}
	return nil, errors.New("a control message without a file")
}

// room is memory that other processes can be given: it has no name and lasts as long as
// any process has it open.
type room struct{ file *os.File }

// newRoom takes so many bytes, all zero.
func newRoom(n int) (*room, error) {
	fd, err := unix.MemfdCreate("warm-weights", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	r := &room{os.NewFile(uintptr(fd), "weights")}
	if err := r.file.Truncate(int64(n)); err != nil {
		_ = r.file.Close()
		return nil, fmt.Errorf("%d bytes of memory for weights: %w", n, err)
	}
	return r, nil
}

// seal ends writing: from now on nobody can change or shorten it.
func (r *room) seal() error {
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	_, err := unix.FcntlInt(r.file.Fd(), unix.F_ADD_SEALS, seals)
	return err
}

// close gives it back, unless others have it.
func (r *room) close() { _ = r.file.Close() }

// attributes are those of a worker's process: a terminal's interrupt is not for it.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
