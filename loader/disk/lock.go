package disk

import "errors"

// ErrLocked is returned for a file that another process holds.
var ErrLocked = errors.New("another process is at work on it: wait for it, or end it")
