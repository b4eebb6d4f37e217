package live

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// Models holds the models that are live, one [Instance] under each name, and of
// a model the revision before while it is kept. A request holds on to the instance
// that it began with, so that a swap never changes what scores it.
type Models struct {
	mu      sync.Mutex
	live    map[string]*Instance
	kept    map[string]*Instance   // by name; the revision before, for requests pinned to it
	retired map[*Instance]struct{} // out of service and not yet drained
	ending  []*Instance            // of them, those that nobody holds any more
	ended   func()                 // called without the lock when instances have ended; may be nil
	memory  int64                  // of all instances that are held
	resized func(bytes int64)      // called with the lock when memory has changed; may be nil
	sole    func() bool            // see AnyName; nil where names must be known
}

// NewModels returns an empty registry: a server that is not ready yet.
func NewModels() *Models {
	return &Models{
		live: make(map[string]*Instance), kept: make(map[string]*Instance),
		retired: make(map[*Instance]struct{}),
	}
}

// Swap makes m live under its name, in place of the one that was there.
// Requests that came before are scored by the old one to their end; drained is
// closed when the last of them is answered, and then the old one's memory may
// be given back. Without an old one drained is closed already. When m does not
// describe itself well nothing changes.
func (ms *Models) Swap(m Model) (drained <-chan struct{}, err error) {
	old, err := ms.swap(m, 0)
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

// swap makes m live and keeps what it replaces, which it returns, for
// grace after its last pinned request; 0 is not at all. What was kept before is
// retired: of a name there are never more than the live and one kept.
func (ms *Models) swap(m Model, grace time.Duration) (old *Instance, err error) {
	info := m.Info()
	if err := info.check(); err != nil {
		return nil, err
	}
	i := &Instance{model: m, info: info, models: ms, drained: make(chan struct{}),
		retired: make(chan struct{})}
	if s, ok := m.(Settler); ok {
		s.Settle()
	}
	ms.change(func() {
		ms.dropKept(info.ID)
		ms.resize(info.Memory)
		old = ms.live[info.ID]
		ms.live[info.ID] = i
		ms.shelve(old, grace)
	})
	return old, nil
}

// restore makes the kept revision of a model live again and keeps the one that
// was. It reports whether revision is the one that is kept.
func (ms *Models) restore(name, revision string, grace time.Duration) (ok bool) {
	ms.change(func() {
		i := ms.kept[name]
		if i == nil || i.info.Revision != revision {
			return
		}
		i.timer.Stop()
		delete(ms.kept, name)
		old := ms.live[name]
		ms.live[name] = i
		ms.shelve(old, grace)
		ok = true
	})
	return ok
}

// shelve keeps i, which has just ceased to be live and may be nil, or retires it.
func (ms *Models) shelve(i *Instance, grace time.Duration) {
	if i == nil {
		return
	}
	if i.away != nil {
		close(i.away)
		return
	}
	if next := ms.live[i.info.ID]; grace <= 0 || i.info.Revision == next.info.Revision {
		ms.retire(i)
		return
	}
	ms.kept[i.info.ID] = i
	i.grace, i.pinned = grace, time.Now()
	i.timer = time.AfterFunc(grace, func() { ms.expire(i) })
}

// expire retires a kept instance whose last pinned request is long enough ago.
func (ms *Models) expire(i *Instance) {
	ms.change(func() {
		if ms.kept[i.info.ID] != i {
			return
		}
		if left := i.grace - time.Since(i.pinned); left > 0 {
			i.timer.Reset(left)
			return
		}
		ms.dropKept(i.info.ID)
	})
}

// dropKept retires what is kept of a model.
func (ms *Models) dropKept(name string) {
	if i := ms.kept[name]; i != nil {
		i.timer.Stop()
		delete(ms.kept, name)
		ms.retire(i)
	}
}

// dropAllKept retires every kept instance: what is loaded next needs its room.
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
		var old *Instance
		if old, ok = ms.live[name]; ok {
			delete(ms.live, name)
			ms.shelve(old, 0)
			drained = old.drained
		}
	})
	return drained, ok
}

// change runs f under the lock, closes the models that nobody holds any more for it
// and tells of them.
func (ms *Models) change(f func()) {
	ms.mu.Lock()
	f()
	ending := ms.ending
	ms.ending = nil
	ms.mu.Unlock()
	if len(ending) == 0 {
		return
	}
	for _, i := range ending {
		closeModel(i.model) // which may wait for a device, and so without the lock
	}
	ms.mu.Lock()
	for _, i := range ending {
		delete(ms.retired, i)
		ms.resize(-i.info.Memory)
		close(i.drained)
	}
	ms.mu.Unlock()
	if ms.ended != nil {
		ms.ended()
	}
}

// closeModel gives back what a model holds that the collector does not take.
func closeModel(m Model) {
	if c, ok := m.(Closer); ok {
		c.Close()
	}
}

// end is the end of a retired instance that nobody holds any more.
func (ms *Models) end(i *Instance) { ms.ending = append(ms.ending, i) }

// drain takes the model called name away, so that its successor has the memory: when
// nobody holds it any more it is closed, and what asks for the model waits in Acquire
// until it is settled. ctx ends the wait, and not what has begun.
func (ms *Models) drain(ctx context.Context, name string) error {
	drained := closed()
	ms.change(func() {
		i := ms.live[name]
		if i == nil {
			return
		}
		if i.away == nil {
			i.away = make(chan struct{})
			ms.retire(i)
		}
		drained = i.drained
	})
	return wait(ctx, drained)
}

// isAway reports whether the model called name is away.
func (ms *Models) isAway(name string) bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	i := ms.live[name]
	return i != nil && i.away != nil
}

// resize adds to the memory of the instances that are held.
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
	if i := ms.live[name]; i != nil {
		bytes = i.info.Memory
	}
	ms.resize(bytes)
	return func() {
		ms.mu.Lock()
		defer ms.mu.Unlock()
		ms.resize(-bytes)
	}
}

// WatchMemory calls f, now and whenever it changes, with the memory of all
// instances that are held.
func (ms *Models) WatchMemory(f func(bytes int64)) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.resized = f
	f(ms.memory)
}

// retire marks i as out of service.
func (ms *Models) retire(i *Instance) {
	close(i.retired)
	ms.retired[i] = struct{}{}
	if i.users == 0 {
		ms.end(i)
	}
}

// held reports whether requests hold retired instances.
func (ms *Models) held() bool {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return len(ms.retired) > 0
}

// settle waits until no request holds a retired instance.
func (ms *Models) settle(ctx context.Context) error {
	for {
		ms.mu.Lock()
		var drained <-chan struct{}
		for i := range ms.retired {
			drained = i.drained
			break
		}
		ms.mu.Unlock()
		if drained == nil {
			return nil
		}
		if err := wait(ctx, drained); err != nil {
			return err
		}
	}
}

// Revisions counts the instances in memory, by name: live, kept and retired
// with requests that hold them.
func (ms *Models) Revisions() map[string]int {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	n := map[string]int{}
	for name, i := range ms.live {
		if i.away == nil { // else it is retired, or no more
			n[name]++
		}
	}
	for name := range ms.kept {
		n[name]++
	}
	for i := range ms.retired {
		n[i.info.ID]++
	}
	return n
}

// Describe returns the live model called name, and the revision of it that is
// kept; "" when none is.
func (ms *Models) Describe(name string) (info Info, kept string, ok bool) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if i := ms.kept[name]; i != nil {
		kept = i.info.Revision
	}
	if i := ms.live[name]; i != nil {
		return i.info, kept, true
	}
	return Info{}, kept, false
}

// Troubles says of each live model that cannot be scored now why not, by name.
func (ms *Models) Troubles() map[string]string {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	out := map[string]string{}
	for name, i := range ms.live {
		if m, ok := i.model.(Troubled); ok && i.away == nil {
			if why := m.Trouble(); why != "" {
				out[name] = why
			}
		}
	}
	return out
}

// List describes the live models, by name.
func (ms *Models) List() []Info {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	list := make([]Info, 0, len(ms.live))
	for _, i := range ms.live {
		list = append(list, i.info)
	}
	slices.SortFunc(list, func(a, b Info) int { return cmp.Compare(a.ID, b.ID) })
	return list
}
