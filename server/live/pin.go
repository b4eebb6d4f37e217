package live

import (
	"strings"

	"github.com/warmserve/warmserve/api"
)

// PinHeader asks for one revision of a model: a client that scores a group of
// answers one by one pins the revision of the first reply, so that a swap in
// between is an error and not a mixture.
const PinHeader = "X-Pin-Revision"

// digestName is what a revision begins with.
const digestName = "sha256:"

// minPin is the shortest prefix of a revision, in hexadecimal digits, that
// names it: two revisions share 32 bits by chance once in four thousand million.
const minPin = 8

// pin is the revision that a request asks for.
type pin struct {
	param  string // where the request says so
	digits string // lower case; "" when the request asks for none
}

// parsePin reads "sha256:" and hexadecimal digits; the first part may be left out.
func parsePin(param, text string) (pin, error) {
	digits := strings.ToLower(strings.TrimPrefix(strings.TrimSpace(text), digestName))
	notHex := func(r rune) bool { return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'f') }
	if text != "" && (len(digits) < minPin || len(digits) > 64 || strings.ContainsFunc(digits, notHex)) {
		return pin{}, api.Errorf(api.CodeInvalidValue, param,
			"want sha256: and %d to 64 hexadecimal digits of a revision", minPin)
	}
	return pin{param, digits}, nil
}

func (p pin) matches(revision string) bool {
	return strings.HasPrefix(strings.TrimPrefix(revision, digestName), p.digits)
}

// Holds returns nil when some model is held in the revision that the header asks
// for, live or kept for pinned requests, or when it asks for none. It keeps nothing
// in memory for longer: whoever asks may never come.
func (ms *Models) Holds(header string) error {
	pin, err := parsePin(PinHeader, header)
	if err != nil || pin.digits == "" {
		return err
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for _, held := range []map[string]*Instance{ms.live, ms.kept} {
		for _, i := range held {
			if pin.matches(i.info.Revision) {
				return nil
			}
		}
	}
	return api.Errorf(api.CodeRevisionGone, pin.param, "revision %s is not held", pin.digits)
}
