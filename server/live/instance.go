package live

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/warmserve/warmserve/api"
)

// Instance is one revision of a model in memory, and how many hold it. The lock
// of Models guards all that changes.
type Instance struct {
	model   Model
	info    Info
	models  *Models
	users   int
	drained chan struct{} // closed when retired and without users
	retired chan struct{} // closed when retired
	// away is not nil once the instance has given its memory to its successor, before
	// that is live: see [Models.drain]. It is closed when that is settled.
	away chan struct{}

	grace  time.Duration // how long it is kept after its last pinned request
	pinned time.Time     // when it was kept, or last asked for by a pin
	timer  *time.Timer   // while it is kept
}

// Model returns what scores.
func (i *Instance) Model() Model { return i.model }

// Info describes it.
func (i *Instance) Info() Info { return i.info }

// Retired is closed once the instance is out of service: what is not an answer
// must let go of it.
func (i *Instance) Retired() <-chan struct{} { return i.retired }

// Acquire holds the instance that answers a request for name, which may be
// "" where one model is served, may be an alias and may carry a pin behind an @,
// with the pin of the request's header [PinHeader]. As is the name without its
// pin: what the reply calls the model. The caller releases the instance. While a
// model that is swapped with drain is away Acquire waits for its successor, at most
// until ctx ends. The error is ctx's cause or an *api.Error.
func (ms *Models) Acquire(ctx context.Context, name, header string) (*Instance, string, error) {
	for {
		i, as, away, err := ms.acquire(name, header, false)
		if api.IsCode(err, api.CodeUnknownModel) && ms.sole != nil && ms.sole() {
			i, as, away, err = ms.acquire(name, header, true)
		}
		if away == nil {
			return i, as, err
		}
		if err := wait(ctx, away); err != nil {
			return nil, "", err
		}
	}
}

// acquire is Acquire, and with any name means the only model that is live. It does
// not wait: away, when not nil, is closed when it is worth trying again.
func (ms *Models) acquire(name, header string, any bool) (_ *Instance, as string, away <-chan struct{}, err error) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if len(ms.live) == 0 {
		return nil, "", nil, api.Errorf(api.CodeNotReady, "", "no model is live yet")
	}
	i, as, pin, err := ms.find(name, header, any)
	switch {
	case err != nil:
		return nil, "", nil, err
	case i.away != nil:
		return nil, "", i.away, nil
	}
	if pin.digits != "" && !pin.matches(i.info.Revision) {
		live := i.info.Revision
		if i = ms.kept[i.info.ID]; i == nil || !pin.matches(i.info.Revision) {
			return nil, "", nil, api.Errorf(api.CodeRevisionGone, pin.param,
				"revision %s is not held; the live one is %s", pin.digits, live)
		}
		i.pinned = time.Now()
	}
	i.users++
	return i, as, nil, nil
}

// find returns the live instance that name means, or with any the only one, the
// name without its pin, and the request's pin.
func (ms *Models) find(name, header string, any bool) (i *Instance, as string, p pin, err error) {
	if p, err = parsePin(PinHeader, header); err != nil {
		return nil, "", p, err
	}
	if name == "" {
		if len(ms.live) > 1 {
			return nil, "", p, api.Errorf(api.CodeMissingField, "model",
				"several models are served: name one")
		}
		i = ms.only()
		return i, i.info.ID, p, nil
	}
	if i, err = ms.called(name); i != nil || err != nil {
		return i, name, p, err
	}
	at := strings.LastIndexByte(name, '@')
	if at > 0 {
		if i, err = ms.called(name[:at]); err != nil {
			return nil, "", p, err
		}
	}
	if i == nil && any {
		if i = ms.only(); i == nil {
			return nil, "", p, UnknownModel("model", name)
		}
		// What stands behind an @ is a pin if it can be one: where a name is a
		// path or an address it is part of that.
		if inName, err := parsePin("model", name[at+1:]); at <= 0 || err != nil || inName.digits == "" {
			return i, name, p, nil
		}
	}
	if i == nil {
		return nil, "", p, UnknownModel("model", name)
	}
	inName, err := parsePin("model", name[at+1:])
	switch {
	case err != nil:
		return nil, "", p, err
	case inName.digits == "":
		return nil, "", p, api.Errorf(api.CodeInvalidValue, "model", "no revision behind the @")
	case p.digits != "" && p.digits != inName.digits:
		return nil, "", p, api.Errorf(api.CodeConflictingFields, "model",
			"the model and %s ask for different revisions", PinHeader)
	}
	return i, name[:at], inName, nil
}

// only returns the live instance where there is one alone, or nil.
func (ms *Models) only() *Instance {
	if len(ms.live) == 1 {
		for _, i := range ms.live {
			return i
		}
	}
	return nil
}

// called returns the live instance of a name or, where no model has that, of an
// alias; nil when there is none. The error is of an alias that two models have.
func (ms *Models) called(name string) (*Instance, error) {
	if i := ms.live[name]; i != nil {
		return i, nil
	}
	var found *Instance
	for _, i := range ms.live {
		switch {
		case !slices.Contains(i.info.Aliases, name):
		case found != nil:
			return nil, api.Errorf(api.CodeConflictingFields, "model",
				"%q is an alias of several models: name one by its own name", api.Clip(name))
		default:
			found = i
		}
	}
	return found, nil
}

// Canonical returns the name of the live model that name is an alias of, or name.
func (ms *Models) Canonical(name string) string {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if i, _ := ms.called(name); i != nil {
		return i.info.ID
	}
	return name
}

// AnyName lets whatever name a request gives mean the model that is served, as
// long as that is the only one and sole, which is called without a lock, says
// that no other is wanted.
func (ms *Models) AnyName(sole func() bool) { ms.sole = sole }

// Hold takes one more hold of an instance that the caller holds.
func (i *Instance) Hold() {
	i.models.mu.Lock()
	defer i.models.mu.Unlock()
	i.users++
}

// Release gives up one hold.
func (i *Instance) Release() {
	i.models.change(func() {
		i.users--
		if _, retired := i.models.retired[i]; retired && i.users == 0 {
			i.models.end(i)
		}
	})
}

// UnknownModel is the error of a request for a model that is not there; param is where
// the request names it.
func UnknownModel(param, name string) *api.Error {
	return api.Errorf(api.CodeUnknownModel, param, "model %q is not served here", api.Clip(name))
}
