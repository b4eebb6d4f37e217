package serve

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/warmserve/warmserve/api"
	"github.com/warmserve/warmserve/loader/bucket"
	"github.com/warmserve/warmserve/loader/hub"
)

// The watched manifest is looked at every second, one elsewhere every five, by a request whose reply has
// no body unless it has changed. Polling needs no dependency,
// and works where notifications do not come: on network file systems, through
// the renamed symbolic links of Kubernetes' mounts, across a folder that is
// replaced as a whole. Its cost is one stat a second.
const (
	watchInterval     = time.Second
	watchAwayInterval = 5 * time.Second
)

// syncer is the part of live.Changes that a watcher needs.
type syncer interface {
	Sync(ctx context.Context, digest string, specs map[string]*api.ModelSpec) error
}

// watcher carries out a manifest whenever it is replaced.
type watcher struct {
	path    string    // of the manifest, or of a folder that holds it
	away    *hub.File // the manifest, where path is an address in place of a path
	live    syncer
	note    func(error) // of each look, for the metrics; nil when it was good
	sources Sources
	log     *slog.Logger

	info    fs.FileInfo // of the manifest at the last look
	file    string      // where it was
	seen    string      // its digest then
	data    []byte      // what is seen, of a manifest elsewhere
	carried string      // the digest of the one that was last carried out or given up
	again   time.Time   // when the current one may be tried again after a failure
	wait    time.Duration
	result  error  // of carrying out the last manifest: what looks at an unchanged one end in
	failure string // the last complaint, so that it is made once
}

// The pauses between attempts at a manifest whose models do not load: its
// checkpoints may still be on their way here.
const (
	firstRetry = 5 * time.Second
	lastRetry  = 5 * time.Minute
)

// run looks at the manifest again and again until ctx ends.
func (w *watcher) run(ctx context.Context) {
	interval := watchInterval
	if w.away != nil {
		interval = watchAwayInterval
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		w.poll(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// poll looks once, and complains once of what is wrong.
func (w *watcher) poll(ctx context.Context) {
	err := w.look(ctx)
	if ctx.Err() != nil {
		return
	}
	w.note(err)
	complaint := ""
	if err != nil {
		complaint = err.Error()
	}
	said := complaint
	if network := (*net.OpError)(nil); errors.As(err, &network) {
		said = "network" // its words name a port that is another each time
	}
	if said != w.failure && complaint != "" {
		w.log.Error("watch", "path", w.path, "error", complaint)
	}
	w.failure = said
}

// look carries the manifest out if it has changed.
func (w *watcher) look(ctx context.Context) error {
	if w.away != nil {
		return w.lookAway(ctx)
	}
	file, err := findManifest(w.path)
	if err != nil {
		return err
	}
	data, info, err := w.read(file)
	if err != nil {
		return err
	}
	if data == nil { // nothing has changed since the last look
		if w.seen == w.carried || time.Now().Before(w.again) {
			return w.result
		}
		if data, err = os.ReadFile(file); err != nil {
			return err
		}
	}
	digest := digestOf(file, data)
	settled := w.settled(file, info, digest)
	w.file, w.info = file, info
	return w.consider(ctx, file, digest, data, settled)
}

// lookAway is look at a manifest elsewhere. A bucket has an object as a whole or not at all; of a web
// server's file two looks must find the same.
func (w *watcher) lookAway(ctx context.Context) error {
	data, err := w.away.Read(ctx, maxManifest)
	if err != nil {
		return err
	}
	if data != nil {
		w.data = data
	}
	digest := digestOf(w.path, w.data)
	return w.consider(ctx, w.path, digest, w.data, bucket.Is(w.path) || digest == w.seen)
}

// digestOf names a manifest by where it is and what it says.
func digestOf(file string, data []byte) string {
	sum := sha256.Sum256(append([]byte(file+"\x00"), data...))
	return hex.EncodeToString(sum[:])
}

// consider carries out a manifest that is new, is not half written, and was not tried a moment ago.
func (w *watcher) consider(ctx context.Context, file, digest string, data []byte, settled bool) error {
	if digest != w.seen {
		w.again, w.wait = time.Time{}, 0
	}
	w.seen = digest
	if digest != w.carried && settled && !time.Now().Before(w.again) {
		w.result = w.carry(ctx, file, digest, data)
	}
	return w.result
}

// read returns the manifest's bytes, or nil when it is as it was: the same file
// of the same size and time, and the time long enough ago that a change right
// after the last look would show in it.
func (w *watcher) read(file string) ([]byte, fs.FileInfo, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if w.info != nil && file == w.file && os.SameFile(info, w.info) && info.Size() == w.info.Size() &&
		info.ModTime().Equal(w.info.ModTime()) && time.Since(info.ModTime()) > 3*watchInterval &&
		w.seen != "" {
		return nil, info, nil
	}
	data, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, nil, err
	}
	if len(data) > maxManifest {
		return nil, nil, fmt.Errorf("%s: over %d bytes", file, maxManifest)
	}
	return data, info, nil
}

// settled reports whether the manifest is whole. One that was renamed into
// place is at once; one that was written where it stands may not be, and is
// believed when two looks find the same.
func (w *watcher) settled(file string, info fs.FileInfo, digest string) bool {
	switch {
	case digest == w.seen:
		return true
	case w.info == nil:
		return time.Since(info.ModTime()) > 2*watchInterval
	}
	return file == w.file && !os.SameFile(info, w.info)
}

// carry makes the models be what the manifest says.
func (w *watcher) carry(ctx context.Context, file, digest string, data []byte) error {
	specs, err := parseManifest(file, data, w.sources)
	if err != nil {
		w.carried = digest // the same bytes will not parse the next time
		return err
	}
	w.log.Info("manifest", "file", file, "models", len(specs), "digest", digest[:12])
	err = w.live.Sync(ctx, digest, specs)
	if err == nil || refused(err) {
		w.carried, w.wait = digest, 0
		return err
	}
	w.wait = min(max(2*w.wait, firstRetry), lastRetry)
	w.again = time.Now().Add(w.wait)
	return err
}

// refused reports whether the guard refused a model: it would again.
func refused(err error) bool { return api.IsCode(err, api.CodeGuardRefused) }
