package broker

// This file is the device grant (RFC 8628) as the device sees it: it asks for a code, and then for its
// tokens until somebody has typed the code and approved.

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/web"
)

const (
	// deviceLife is how long a person has to type the code. The device is told for as long again that it
	// is over.
	deviceLife = 10 * time.Minute
	// deviceWait is how often a device may ask at first (RFC 8628 section 3.5); who asks more often waits
	// longer each time.
	deviceWait = 5 * time.Second
	// deviceWrites is how often a write is tried that another request was faster than.
	deviceWrites = 8
)

var (
	errDevicePending = &oauthError{"authorization_pending", "nobody has approved the device yet", http.StatusBadRequest}
	errDeviceSlow    = &oauthError{"slow_down", "ask less often: five seconds more between two requests", http.StatusBadRequest}
	errDeviceExpired = &oauthError{"expired_token", "the device_code is over: begin again", http.StatusBadRequest}
	errDeviceDenied  = &oauthError{"access_denied", "the device was not approved", http.StatusBadRequest}
)

// deviceRequest is what a device asked for, until its tokens are taken or it is over.
type deviceRequest struct {
	App       directory.AppID `json:"app"`
	Org       directory.OrgID `json:"org,omitempty"` // that the device named; "" is none
	Scope     []string        `json:"scp"`
	Resources []string        `json:"rsc,omitempty"`
	// Network and Device say where the request came from, for the person who is to approve it.
	Network string        `json:"net"`
	Device  string        `json:"dev,omitempty"`
	Issued  time.Time     `json:"at"`
	Wait    time.Duration `json:"wai"`
	Polled  time.Time     `json:"pol,omitzero"`
	State   deviceState   `json:"sta,omitempty"`
	// Grant is what the device gets; nil until it is approved.
	Grant *codeGrant `json:"gra,omitempty"`
}

type deviceState string

const (
	deviceOpen     deviceState = ""
	deviceClaimed  deviceState = "claimed" // somebody approved, and what that leaves is being written
	deviceApproved deviceState = "approved"
	deviceDenied   deviceState = "denied"
)

func (d deviceRequest) over(now time.Time) bool { return !now.Before(d.Issued.Add(deviceLife)) }

// deviceAnswer is the device authorization response (RFC 8628 section 3.2).
type deviceAnswer struct {
	DeviceCode string `json:"device_code"`
	UserCode   string `json:"user_code"`
	URI        string `json:"verification_uri"`
	Complete   string `json:"verification_uri_complete"`
	Expires    int64  `json:"expires_in"`
	Interval   int64  `json:"interval"`
}

// deviceAuthorization is the device authorization endpoint.
func (b *Broker) deviceAuthorization(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil || r.URL.RawQuery != "" {
		return &oauthError{"invalid_request", "parameters come in the body, each once", http.StatusBadRequest}
	}
	ctx := r.Context()
	if err := b.Limits.DevicePerNetwork.Check(ctx, b.Counter, b.network(r)); err != nil {
		return err
	}
	app, err := b.authenticate(r, form)
	if err != nil {
		return err
	}
	if !app.may(GrantDevice) {
		return sentBy(app, differs(&oauthError{"unauthorized_client", "this app may not sign devices in", http.StatusBadRequest}, app.otherGrant(GrantDevice)))
	}
	req := authRequest{App: app.ID, organization: form.Get("organization")}
	if err := parseScope(&req, app, form); err != nil {
		return deviceError(app, err)
	}
	if err := b.parseResources(&req, app, form); err != nil {
		return deviceError(app, err)
	}
	if err := b.resolveOrg(ctx, app, &req); err != nil {
		return deviceError(app, err)
	}
	d := deviceRequest{
		App: app.ID, Org: req.org, Scope: req.Scope, Resources: req.Resources, Network: b.network(r), Device: device(r.UserAgent()),
		Issued: b.Now(), Wait: deviceWait,
	}
	out, err := b.openDevice(ctx, d)
	if err != nil {
		return err
	}
	w.Header().Set("Pragma", "no-cache")
	writeJSON(w, http.StatusOK, out)
	return nil
}

// deviceError says an authorization error to a program.
func deviceError(app App, err error) error {
	if e, ok := errors.AsType[*authError](err); ok {
		return begins(sentBy(app, asDiffering(err, &oauthError{e.code, e.description, http.StatusBadRequest})))
	}
	return err
}

// openDevice keeps a request under both its codes.
func (b *Broker) openDevice(ctx context.Context, d deviceRequest) (deviceAnswer, error) {
	raw, err := json.Marshal(d)
	if err != nil {
		return deviceAnswer{}, err
	}
	code := directory.NewSecret()
	key := deviceKey(code)
	if err := b.Brief.Put(ctx, key, raw, 2*deviceLife); err != nil {
		return deviceAnswer{}, err
	}
	var user string
	for range 3 { // another device has the code once in a million million
		user = newUserCode()
		if err = b.Brief.PutNew(ctx, b.userCodeKey(user), []byte(key), deviceLife); !errors.Is(err, brief.ErrTaken) {
			break
		}
	}
	shown := showUserCode(user)
	return deviceAnswer{
		DeviceCode: code, UserCode: shown, URI: b.Issuer + "/device", Complete: b.Issuer + "/device?user_code=" + shown,
		Expires: int64(deviceLife / time.Second), Interval: int64(deviceWait / time.Second),
	}, err
}

func deviceKey(code string) string {
	h := hashOf(code)
	return "device/" + hex.EncodeToString(h[:])
}

// userCodeKey keeps a user code as a HMAC: its 40 bits would be guessed from a hash (S24).
func (b *Broker) userCodeKey(code string) string {
	mac := hmac.New(sha256.New, b.Subjects.key)
	mac.Write([]byte("user code\x00" + code))
	return "usercode/" + hex.EncodeToString(mac.Sum(nil))
}

// userCodeAlphabet is 32 characters that are not taken for one another, so that eight of them hold 40 bits
// (S49).
const userCodeAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

func newUserCode() string {
	var b [8]byte
	rand.Read(b[:])
	for i, v := range b {
		b[i] = userCodeAlphabet[v%32]
	}
	return string(b[:])
}

// showUserCode writes a code as people read it out.
func showUserCode(code string) string { return code[:4] + "-" + code[4:] }

var userCodeReader = strings.NewReplacer("O", "0", "I", "1", "L", "1", "-", "", " ", "", "\u2013", "", ".", "")

// readUserCode reads what somebody typed; "" when it can be no code.
func readUserCode(typed string) string {
	code := userCodeReader.Replace(strings.ToUpper(strings.TrimSpace(typed)))
	if len(code) != 8 || strings.Trim(code, userCodeAlphabet) != "" {
		return ""
	}
	return code
}

// deviceAt reads a request; brief.ErrGone when there is none.
func (b *Broker) deviceAt(ctx context.Context, key string) (deviceRequest, []byte, error) {
	var d deviceRequest
	raw, err := b.Brief.Get(ctx, key)
	if err == nil {
		err = json.Unmarshal(raw, &d)
	}
	return d, raw, err
}

// changeDevice changes a request; of several at once each sees what the one before it left.
func (b *Broker) changeDevice(ctx context.Context, key string, change func(*deviceRequest) error) error {
	for range deviceWrites {
		d, raw, err := b.deviceAt(ctx, key)
		if err != nil {
			return err
		}
		if err := change(&d); err != nil {
			return err
		}
		next, err := json.Marshal(d)
		if err != nil {
			return err
		}
		if bytes.Equal(raw, next) {
			return nil
		}
		if err := b.Brief.Swap(ctx, key, raw, next); !errors.Is(err, brief.ErrTaken) {
			return err
		}
	}
	return brief.ErrTaken
}

// redeemDevice gives a device its tokens, once it was approved, and once only (RFC 8628 section 3.4).
func (b *Broker) redeemDevice(ctx context.Context, app App, in redemption) (tokens, error) {
	key := deviceKey(in.code)
	d, _, err := b.deviceAt(ctx, key)
	switch {
	case errors.Is(err, brief.ErrGone):
		return tokens{}, differs(errInvalidGrant, "the device_code is none of ours, is over, or its tokens were taken already")
	case err != nil:
		return tokens{}, err
	case d.App != app.ID:
		return tokens{}, differs(errInvalidGrant, "the device_code was given to another client")
	}
	switch {
	case d.State == deviceDenied:
		if err := b.Brief.Delete(ctx, key); err != nil {
			return tokens{}, err
		}
		return tokens{}, errDeviceDenied
	case d.over(b.Now()):
		return tokens{}, errDeviceExpired
	case d.State == deviceApproved:
		return b.takeDevice(ctx, app, key, in)
	}
	return tokens{}, b.polled(ctx, key)
}

// polled notes that a device asked, and how long it has to wait now.
func (b *Broker) polled(ctx context.Context, key string) error {
	now, early := b.Now(), false
	err := b.changeDevice(ctx, key, func(d *deviceRequest) error {
		early = now.Before(d.Polled.Add(d.Wait))
		if early {
			d.Wait += deviceWait
		}
		d.Polled = now
		return nil
	})
	switch {
	case errors.Is(err, brief.ErrTaken):
		return errDeviceSlow // it asks so often that it overtakes itself
	case err != nil && !errors.Is(err, brief.ErrGone):
		return err
	case early:
		return errDeviceSlow
	}
	return errDevicePending
}

// takeDevice redeems an approved device code: of several requests at once one takes it.
func (b *Broker) takeDevice(ctx context.Context, app App, key string, in redemption) (tokens, error) {
	raw, err := b.Brief.Take(ctx, key)
	if errors.Is(err, brief.ErrGone) {
		return tokens{}, errInvalidGrant
	}
	if err != nil {
		return tokens{}, err
	}
	var d deviceRequest
	if err := json.Unmarshal(raw, &d); err != nil {
		return tokens{}, err
	}
	if d.State != deviceApproved || d.Grant == nil || d.App != app.ID || d.over(b.Now()) {
		return tokens{}, errInvalidGrant
	}
	aud, err := b.audience(app, in.resource, d.Resources)
	if err != nil {
		return tokens{}, err
	}
	g := *d.Grant
	g.Bound = bind(in.code, app.ClientID, "device", "")
	var out tokens
	for range 3 {
		if out, err = b.grant(ctx, app, g, in, aud); !errors.Is(err, ErrMoved) {
			break
		}
	}
	return out, err
}
