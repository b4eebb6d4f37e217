package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/warmserve/warmserve/api"
)

// Models holds the models that are live, one deployment under each name, and
// of a model the revision before while it is kept. A request holds on to the
// deployment that it began with, so that a swap never changes what scores it.
type Models struct {
	mu      sync.Mutex
	live    map[string]*deployment
	kept    map[string]*deployment   // by name; the revision before, for requests pinned to it
	retired map[*deployment]struct{} // out of service, with requests that hold them
	endings int                      // deployments that ended
	ended   func()                   // called without the lock when deployments have ended; may be nil
	memory  int64                    // of all deployments that are held
	resized func(bytes int64)        // called with the lock when memory has changed; may be nil
}

// deployment is a model and how many requests hold it. The lock of Models
// guards all that changes.
type deployment struct {
	model   Model
	info    Info
	models  *Models
	users   int
	drained chan struct{} // closed when retired and without users
	retired chan struct{} // closed when retired: what is not an answer must let go

	grace  time.Duration // how long it is kept after its last pinned request
	pinned time.Time     // when it was kept, or last asked for by a pin
	timer  *time.Timer   // while it is kept
}

// NewModels returns an empty registry: a server that is not ready yet.
func NewModels() *Models {
	return &Models{live: make(map[string]*deployment), kept: make(map[string]*deployment), retired: make(map[*deployment]struct{})}
}

// Swap makes m live under its name, in place of the deployment that was there.
// Requests that came before are scored by the old one to their end; drained is
// closed when the last of them is answered, and then the old one's memory may
// be given back. Without an old one drained is closed already. When m does not
// describe itself well nothing changes.
func (ms *Models) Swap(m Model) (drained <-chan struct{}, err error) {
	old, err := ms.exchange(m, 0)
	if err != nil {
		return nil, err
	}
	if old == nil {
		return closed(), nil
	}
	return old.drained, nil
}

// closed returns a channel that is closed.
func closed() <-chan struct{} {
	none := make(chan struct{})
	close(none)
	return none
}

// exchange makes m live and keeps what it replaces, which it returns, for
// grace after its last pinned request; 0 is not at all. What was kept before is
// retired: of a name there are never more than the live and one kept.
func (ms *Models) exchange(m Model, grace time.Duration) (old *deployment, err error) {
	info := m.Info()
	if err := info.check(); err != nil {
		return nil, err
	}
	d := &deployment{model: m, info: info, models: ms, drained: make(chan struct{}), retired: make(chan struct{})}
	ms.change(func() {
		ms.dropKept(info.Name)
		ms.resize(info.Memory)
		old = ms.live[info.Name]
		ms.live[info.Name] = d
		ms.shelve(old, grace)
	})
	return old, nil
}

// restore makes the kept revision of a model live again and keeps the one that
// was. It reports whether revision is the one that is kept.
func (ms *Models) restore(name, revision string, grace time.Duration) (ok bool) {
	ms.change(func() {
		d := ms.kept[name]
		if d == nil || d.info.Revision != revision {
			return
		}
		d.timer.Stop()
		delete(ms.kept, name)
		old := ms.live[name]
		ms.live[name] = d
		ms.shelve(old, grace)
		ok = true
	})
	return ok
}

// shelve keeps d, which has just ceased to be live and may be nil, or retires it.
func (ms *Models) shelve(d *deployment, grace time.Duration) {
	if d == nil {
		return
	}
	if grace <= 0 || d.info.Revision == ms.live[d.info.Name].info.Revision {
		ms.retire(d)
		return
	}
	ms.kept[d.info.Name] = d
	d.grace, d.pinned = grace, time.Now()
	d.timer = time.AfterFunc(grace, func() { ms.expire(d) })
}

// expire retires a kept deployment whose last pinned request is long enough ago.
func (ms *Models) expire(d *deployment) {
	ms.change(func() {
		if ms.kept[d.info.Name] != d {
			return
		}
		if left := d.grace - time.Since(d.pinned); left > 0 {
			d.timer.Reset(left)
			return
		}
		ms.dropKept(d.info.Name)
	})
}

// dropKept retires what is kept of a model.
func (ms *Models) dropKept(name string) {
	if d := ms.kept[name]; d != nil {
		d.timer.Stop()
		delete(ms.kept, name)
		ms.retire(d)
	}
}

// dropAllKept retires every kept deployment: what is loaded next needs its room.
func (ms *Models) dropAllKept() {
	ms.change(func() {
		for name := range ms.kept {
			ms.dropKept(name)
		}
	})
}

// Remove takes the model called name out of service; drained is as in Swap. It
// reports whether there was one.
func (ms *Models) Remove(name string) (drained <-chan struct{}, ok bool) {
	drained = closed()
	ms.change(func() {
		ms.dropKept(name)
		var old *deployment
		if old, ok = ms.live[name]; ok {
			delete(ms.live, name)
			ms.retire(old)
			drained = old.drained
		}
	})
	return drained, ok
}

// change runs f under the lock and tells of deployments that ended in it.
func (ms *Models) change(f func()) {
	ms.mu.Lock()
	before := ms.endings
	f()
	ended := ms.endings > before
	ms.mu.Unlock()
	if ended && ms.ended != nil {
		ms.ended()
	}
}

// end is the end of a deployment that nobody holds any more.
func (ms *Models) end(d *deployment) {
	ms.endings++
	ms.resize(-d.info.Memory)
	close(d.drained)
}

// resize adds to the memory of the deployments that are held.
func (ms *Models) resize(bytes int64) {
	ms.memory += bytes
	if ms.resized != nil {
		ms.resized(ms.memory)
	}
}

// expect counts, until the function that it returns is called, the memory of a
// model that is being loaded as name: about that of the live one of the name,
// which is all that is known of it before.
func (ms *Models) expect(name string) (over func()) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	bytes := int64(0)
	if d := ms.live[name]; d != nil {
		bytes = d.info.Memory
	}
	ms.resize(bytes)
	return func() {
		ms.mu.Lock()
		defer ms.mu.Unlock()
		ms.resize(-bytes)
	}
}

// watchMemory calls f, now and whenever it changes, with the memory of all
// deployments that are held.
func (ms *Models) watchMemory(f func(bytes int64)) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.resized = f
	f(ms.memory)
}

// retire marks d as out of service.
func (ms *Models) retire(d *deployment) {
	close(d.retired)
	if d.users == 0 {
		ms.end(d)
		return
	}
	ms.retired[d] = struct{}{}
}

// held reports whether requests hold retired deployments.
func (ms *Models) held() bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return len(ms.retired) > 0
}

// settle waits until no request holds a retired deployment.
func (ms *Models) settle(ctx context.Context) error {
	for {
		ms.mu.Lock()
		var wait <-chan struct{}
		for d := range ms.retired {
			wait = d.drained
			break
		}
		ms.mu.Unlock()
		if wait == nil {
			return nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// revisions counts the deployments in memory, by name: live, kept and retired
// with requests that hold them.
func (ms *Models) revisions() map[string]int {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	n := map[string]int{}
	for name := range ms.live {
		n[name]++
	}
	for name := range ms.kept {
		n[name]++
	}
	for d := range ms.retired {
		n[d.info.Name]++
	}
	return n
}

// describe returns the live model called name, and the revision of it that is
// kept; "" when none is.
func (ms *Models) describe(name string) (info Info, kept string, ok bool) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if d := ms.kept[name]; d != nil {
		kept = d.info.Revision
	}
	if d := ms.live[name]; d != nil {
		return d.info, kept, true
	}
	return Info{}, kept, false
}

// List describes the live models, by name.
func (ms *Models) List() []Info {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	list := make([]Info, 0, len(ms.live))
	for _, d := range ms.live {
		list = append(list, d.info)
	}
	slices.SortFunc(list, func(a, b Info) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// acquire holds the deployment that answers a request for name, which may be
// "" where one model is served and may carry a pin behind an @, with the pin
// of the request's header. The caller releases it.
func (ms *Models) acquire(name, header string) (*deployment, error) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if len(ms.live) == 0 {
		return nil, api.Errorf(api.CodeNotReady, "", "no model is live yet")
	}
	d, pin, err := ms.find(name, header)
	if err != nil {
		return nil, err
	}
	if pin.digits != "" && !pin.matches(d.info.Revision) {
		live := d.info.Revision
		if d = ms.kept[d.info.Name]; d == nil || !pin.matches(d.info.Revision) {
			return nil, api.Errorf(api.CodeRevisionGone, pin.param, "revision %s is not held; the live one is %s", pin.digits, live)
		}
		d.pinned = time.Now()
	}
	d.users++
	return d, nil
}

// find returns the live deployment that name means, and the request's pin.
func (ms *Models) find(name, header string) (*deployment, pin, error) {
	p, err := parsePin(pinHeader, header)
	if err != nil {
		return nil, p, err
	}
	if name == "" {
		if len(ms.live) > 1 {
			return nil, p, api.Errorf(api.CodeMissingField, "model", "several models are served: name one")
		}
		for _, d := range ms.live {
			return d, p, nil
		}
	}
	if d := ms.live[name]; d != nil {
		return d, p, nil
	}
	at := strings.LastIndexByte(name, '@')
	if at < 0 || ms.live[name[:at]] == nil {
		return nil, p, unknownModel("model", name)
	}
	inName, err := parsePin("model", name[at+1:])
	switch {
	case err != nil:
		return nil, p, err
	case inName.digits == "":
		return nil, p, api.Errorf(api.CodeInvalidValue, "model", "no revision behind the @")
	case p.digits != "" && p.digits != inName.digits:
		return nil, p, api.Errorf(api.CodeConflictingFields, "model", "the model and %s ask for different revisions", pinHeader)
	}
	return ms.live[name[:at]], inName, nil
}

// hold takes one more hold of a deployment that the caller holds.
func (d *deployment) hold() {
	d.models.mu.Lock()
	defer d.models.mu.Unlock()
	d.users++
}

func (d *deployment) release() {
	d.models.change(func() {
		d.users--
		if _, retired := d.models.retired[d]; retired && d.users == 0 {
			delete(d.models.retired, d)
			d.models.end(d)
		}
	})
}

func unknownModel(param, name string) *api.Error {
	if len(name) > 64 {
		name = name[:64] + "…"
	}
	return api.Errorf(api.CodeUnknownModel, param, "model %q is not served here", name)
}

// validName reports whether a model may be called name.
func validName(name string) bool {
	return len(name) > 0 && len(name) <= 200 && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}

// check reports everything that is wrong with a deployment's description.
func (i *Info) check() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("server: model %q: "+format, append([]any{i.Name}, args...)...))
	}
	if !validName(i.Name) {
		bad("the name must be 1 to 200 printable ASCII characters without spaces")
	}
	if i.ContextLength < 1 {
		bad("context length %d, want 1 or more", i.ContextLength)
	}
	if !slices.Contains(i.Modes, i.Mode) {
		bad("the default mode %q is not one of the modes %q", i.Mode, i.Modes)
	}
	i.checkSample(bad)
	for _, mode := range i.Modes {
		name, member := strings.CutPrefix(mode, api.ModeMember)
		switch {
		case mode == api.ModeWA:
		case (mode == api.ModeEns || mode == api.ModeBoth) && len(i.Members) == 0:
			bad("mode %q without members", mode)
		case mode == api.ModeEns || mode == api.ModeBoth:
		case !member:
			bad("mode %q is not one", mode)
		case !slices.Contains(i.Members, name):
			bad("mode %q names no member of %q", mode, i.Members)
		}
	}
	return errors.Join(errs...)
}
