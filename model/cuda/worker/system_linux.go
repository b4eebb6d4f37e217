package worker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// program is this program's file, though another may have taken its name since.
const program = "/proc/self/exe"

// pairs returns two pairs of connected sockets, of work and of talk: ours, and the files of a worker's.
// Talk is of messages that arrive as a whole or not at all.
func pairs() (work, talk *net.UnixConn, theirs []*os.File, err error) {
	ours := [2]*net.UnixConn{}
	for i, kind := range []int{unix.SOCK_STREAM, unix.SOCK_SEQPACKET} {
		var their *os.File
		if ours[i], their, err = pair(kind); err != nil {
			for _, c := range ours[:i] {
				_ = c.Close()
			}
			closeAll(theirs)
			return nil, nil, nil, err
		}
		theirs = append(theirs, their)
	}
	return ours[0], ours[1], theirs, nil
}

func pair(kind int) (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
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

// send writes a frame, with files where there are any, which nobody may close meanwhile.
func send(c *net.UnixConn, frame []byte, files []*os.File) error {
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		n, _, err := c.WriteMsgUnix(frame[:headerBytes], unix.UnixRights(fds...), nil)
		if err != nil {
			return err
		}
		frame = frame[n:]
	}
	_, err := c.Write(frame)
	return err
}

// line is a worker's end of the socket of its work. The thread that works waits for frames in the system
// itself: one that wakes it without a poller's or another goroutine's thread in between.
type line struct {
	fd      int
	payload []byte // of the last frame
	oob     []byte
}

// newLine is that of a file's number.
func newLine(fd int) (*line, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_STREAM {
		return nil, fmt.Errorf("file %d is no socket of a worker", fd)
	}
	unix.CloseOnExec(fd)
	return &line{fd: fd, oob: make([]byte, unix.CmsgSpace(4*mostFiles))}, nil
}

// Read implements [io.Reader].
func (l *line) Read(b []byte) (int, error) {
	for {
		n, err := unix.Read(l.fd, b)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0 && len(b) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

// Write implements [io.Writer].
func (l *line) Write(b []byte) (int, error) {
	for at := 0; at < len(b); {
		n, err := unix.Write(l.fd, b[at:])
		if err != nil && err != unix.EINTR {
			return at, err
		}
		at += max(n, 0)
	}
	return len(b), nil
}

// receive reads a frame and the files that came with it, or nil. The payload is the line's until the
// next.
func (l *line) receive() (header, []byte, []*os.File, error) {
	var b [headerBytes]byte
	var files []*os.File
	for at := 0; at < headerBytes; {
		n, m, flags, _, err := unix.Recvmsg(l.fd, b[at:], l.oob, unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n == 0 {
			err = net.ErrClosed
		}
		if err == nil && flags&unix.MSG_CTRUNC != 0 {
			err = fmt.Errorf("more than %d files with a frame", mostFiles)
		}
		if err != nil {
			return header{}, nil, files, err
		}
		at += n
		if m > 0 {
			if files, err = filesIn(l.oob[:m]); err != nil {
				return header{}, nil, nil, err
			}
		}
	}
	h, err := parseHeader(b[:])
	if err != nil {
		return h, nil, files, err
	}
	l.payload, err = readPayload(l, l.payload[:0], h.size)
	return h, l.payload, files, err
}

// filesIn takes the files out of a control message.
func filesIn(oob []byte) (files []*os.File, err error) {
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
			files = append(files, os.NewFile(uintptr(fd), "weights"))
		}
	}
	if files == nil {
		return nil, errors.New("a control message without a file")
	}
	return files, nil
}

// newRoom takes so many bytes, all zero.
func newRoom(size int64) (*room, error) {
	r := &room{size: size}
	for i := range filesOf(size) {
		fd, err := unix.MemfdCreate("warm-weights", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			r.close()
			return nil, fmt.Errorf("memfd_create: %w", err)
		}
		r.files = append(r.files, os.NewFile(uintptr(fd), "weights"))
		if err := r.files[i].Truncate(part(size, i, filesOf(size))); err != nil {
			r.close()
			return nil, fmt.Errorf("%d bytes of memory for weights: %w", size, err)
		}
	}
	return r, nil
}

// sealing is how long memory may be busy while it is sealed.
const sealing = 10 * time.Second

// seal ends writing: from now on nobody can change or shorten it. A page that the kernel itself holds at
// this moment, as it moves or counts it, is busy: it is asked again until that is over.
func (r *room) seal() error {
	const seals = unix.F_SEAL_WRITE | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_SEAL
	until := time.Now().Add(sealing)
	for _, f := range r.files {
		_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
		for errors.Is(err, unix.EBUSY) && time.Now().Before(until) {
			time.Sleep(10 * time.Millisecond)
			_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
		}
		if err != nil {
			return fmt.Errorf("sealing the memory of weights: %w", err)
		}
	}
	return nil
}

// attributes are those of a worker's process: a terminal's interrupt is not for it.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
