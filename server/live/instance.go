package live

import (
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
// "" where one model is served and may carry a pin behind an @, with the pin
// of the request's header [PinHeader]. The caller releases it. The error is an
// *api.Error.
func (ms *Models) Acquire(name, header string) (*Instance, error) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if len(ms.live) == 0 {
		return nil, api.Errorf(api.CodeNotReady, "", "no model is live yet")
	}
	i, pin, err := ms.find(name, header)
	if err != nil {
		return nil, err
	}
	if pin.digits != "" && !pin.matches(i.info.Revision) {
		live := i.info.Revision
		if i = ms.kept[i.info.ID]; i == nil || !pin.matches(i.info.Revision) {
			return nil, api.Errorf(api.CodeRevisionGone, pin.param,
				"revision %s is not held; the live one is %s", pin.digits, live)
		}
		i.pinned = time.Now()
	}
	i.users++
	return i, nil
}

// find returns the live instance that name means, and the request's pin.
func (ms *Models) find(name, header string) (*Instance, pin, error) {
	p, err := parsePin(PinHeader, header)
	if err != nil {
		return nil, p, err
	}
	if name == "" {
		if len(ms.live) > 1 {
			return nil, p, api.Errorf(api.CodeMissingField, "model", "several models are served: name one")
		}
		for _, i := range ms.live {
			return i, p, nil
		}
	}
	if i := ms.live[name]; i != nil {
		return i, p, nil
	}
	at := strings.LastIndexByte(name, '@')
	if at < 0 || ms.live[name[:at]] == nil {
		return nil, p, UnknownModel("model", name)
	}
	inName, err := parsePin("model", name[at+1:])
	switch {
	case err != nil:
		return nil, p, err
	case inName.digits == "":
		return nil, p, api.Errorf(api.CodeInvalidValue, "model", "no revision behind the @")
	case p.digits != "" && p.digits != inName.digits:
		return nil, p, api.Errorf(api.CodeConflictingFields, "model",
			"the model and %s ask for different revisions", PinHeader)
	}
	return ms.live[name[:at]], inName, nil
}

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
			delete(i.models.retired, i)
			i.models.end(i)
		}
	})
}

// UnknownModel is the error of a request for a model that is not there; param is where
// the request names it.
func UnknownModel(param, name string) *api.Error {
	if len(name) > 64 {
		name = name[:64] + "…"
	}
	return api.Errorf(api.CodeUnknownModel, param, "model %q is not served here", name)
}
