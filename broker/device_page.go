package broker

// This file is the device grant (RFC 8628 section 3.3) as the person sees it: the page where the code is
// typed, the login, and the page that approves. Nothing is approved by following a link: what an address
// brings is only filled in.

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/flows"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

var (
	ErrDeviceGone   = fault.New(fault.Expired, "broker.device_gone", "The device's code is over or was answered already.")
	ErrDevicePolicy = fault.New(fault.Denied, "broker.device_policy", "Your organization does not allow devices to be signed in by a code.")
)

// DeviceFinisher is the name under which logins end here that approve a device.
const DeviceFinisher = "device"

// Devices ends logins for devices.
type Devices struct{ Broker *Broker }

var _ flows.Finisher = Devices{}

// approval is a proved person in front of a device's request.
type approval struct {
	Device  string              `json:"dev"`
	Code    string              `json:"cod"`
	Session directory.SessionID `json:"ses"`
	Org     directory.OrgID     `json:"org"`
	Request authRequest         `json:"req"`
}

// device asks for the code.
func (b *Broker) device(w http.ResponseWriter, r *http.Request) error {
	typed := r.URL.Query().Get("user_code")
	if code := readUserCode(typed); code != "" {
		typed = showUserCode(code)
	} else if len(typed) > 32 {
		typed = ""
	}
	return b.page(w, r, "", "", templates.DevicePage{Action: "/device", Value: typed})
}

// deviceTyped begins the login that the device's app and organization ask for.
func (b *Broker) deviceTyped(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	if err := b.Limits.UserCodePerNetwork.Check(ctx, b.Counter, b.network(r)); err != nil {
		return err
	}
	typed := form.Get("user_code")
	code := readUserCode(typed)
	wrong := templates.DevicePage{Action: "/device", Value: typed, Wrong: true}
	if len(typed) > 32 {
		wrong.Value = ""
	}
	if code == "" {
		return b.page(w, r, "", "", wrong)
	}
	if err := b.Limits.PerUserCode.Check(ctx, b.Counter, b.userCodeKey(code)); err != nil {
		return err
	}
	key, err := b.Brief.Get(ctx, b.userCodeKey(code))
	if errors.Is(err, brief.ErrGone) {
		return b.page(w, r, "", "", wrong)
	}
	if err != nil {
		return err
	}
	d, _, err := b.deviceAt(ctx, string(key))
	if errors.Is(err, brief.ErrGone) || err == nil && (d.State != deviceOpen || d.over(b.Now())) {
		return b.page(w, r, "", "", wrong)
	}
	if err != nil {
		return err
	}
	return b.deviceLogin(w, r, d, string(key), code)
}

func (b *Broker) deviceLogin(w http.ResponseWriter, r *http.Request, d deviceRequest, key, code string) error {
	ctx := r.Context()
	app, err := b.Apps.AppByID(ctx, d.App)
	if err != nil {
		return err
	}
	if app.Status != directory.Active || !app.may(GrantDevice) {
		return &flows.Failure{Err: ErrApp, App: app.facts(), At: b.Now()}
	}
	payload, err := json.Marshal(authRequest{App: d.App, Scope: d.Scope, Resources: d.Resources, Device: key, UserCode: code})
	if err != nil {
		return err
	}
	list, err := b.accounts(ctx, r, app, &authRequest{})
	if err != nil {
		return err
	}
	start := flows.Request{Finisher: DeviceFinisher, Payload: payload, Realm: app.Realm, App: app.facts(), Org: d.Org, Network: b.network(r)}
	if len(list) > 0 {
		start.Session = list[0].held()
	}
	if app.MaxAge > 0 {
		start.MaxAge = &app.MaxAge // a device asks for no age of its own
	}
	_, err = b.Flows.Start(w, r, start)
	return err
}

// Finish leaves a proved person in front of the question. The app learns nothing yet.
func (f Devices) Finish(w http.ResponseWriter, r *http.Request, res flows.Result) error {
	b := f.Broker
	var req authRequest
	if err := json.Unmarshal(res.Payload, &req); err != nil || req.Device == "" {
		return ErrRequest.With(err)
	}
	var s signIn
	var err error
	for range 3 {
		if s, err = b.signIn(r, req, res); !errors.Is(err, ErrMoved) {
			break
		}
	}
	if err != nil {
		return err
	}
	if !policy.DeviceGrant.In(s.admission.policy) {
		return ErrDevicePolicy
	}
	if err := b.carry(w, r, s); err != nil {
		return err
	}
	raw, err := json.Marshal(approval{Device: req.Device, Code: req.UserCode, Session: s.session.ID, Org: s.admission.org.Org().ID, Request: req})
	if err != nil {
		return err
	}
	id := directory.NewSecret()
	if err := b.Brief.Put(r.Context(), approvalKey(id), raw, deviceLife); err != nil {
		return err
	}
	http.Redirect(w, r, "/device/"+id, http.StatusSeeOther)
	return nil
}

func approvalKey(id string) string { return "approval/" + id }

// askedDevice is an approval that waits for this browser's person.
type askedDevice struct {
	approval
	request deviceRequest
	app     App
	session brought
}

// deviceAsked finds what the person is asked. The address alone is no right to answer: only the browser
// that holds the session may.
func (b *Broker) deviceAsked(r *http.Request) (askedDevice, error) {
	ctx := r.Context()
	var v askedDevice
	raw, err := b.Brief.Get(ctx, approvalKey(r.PathValue("approval")))
	if errors.Is(err, brief.ErrGone) {
		return v, ErrDeviceGone.With(err)
	}
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(raw, &v.approval); err != nil {
		return v, err
	}
	list, err := b.browserSessions(ctx, r)
	if err != nil {
		return v, err
	}
	mine := slices.IndexFunc(list, func(s brought) bool { return s.ID == v.Session })
	if mine < 0 {
		return v, flows.ErrElsewhere
	}
	v.session = list[mine]
	v.request, _, err = b.deviceAt(ctx, v.Device)
	if errors.Is(err, brief.ErrGone) || err == nil && (v.request.State != deviceOpen || v.request.over(b.Now())) {
		return v, ErrDeviceGone
	}
	if err != nil {
		return v, err
	}
	v.app, err = b.Apps.AppByID(ctx, v.request.App)
	return v, err
}

// deviceQuestion names app, organization and place, and asks.
func (b *Broker) deviceQuestion(w http.ResponseWriter, r *http.Request) error {
	v, err := b.deviceAsked(r)
	if err != nil {
		return err
	}
	dress, err := b.Looks.Of(r.Context(), v.Org)
	if err != nil {
		return err
	}
	look := dress.Look(r, v.app.Name, r.URL.Query().Get("ui_locales"))
	page := templates.DeviceApprovePage{
		Action: r.URL.Path, App: v.app.Name, Org: look.Org, Who: v.session.person.Email, Code: showUserCode(v.Code),
		Network: v.request.Network, Device: v.request.Device, Minutes: int(b.Now().Sub(v.request.Issued) / time.Minute),
	}
	if v.app.ThirdParty {
		page.Items = consentItems(look.Lang, look.Org, v.app, v.Request)
	}
	return flows.WritePage(w, b.Pages, http.StatusOK, look, page)
}

// deviceDecided takes the answer, once.
func (b *Broker) deviceDecided(w http.ResponseWriter, r *http.Request) error {
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	v, err := b.deviceAsked(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	if _, err := b.Brief.Take(ctx, approvalKey(r.PathValue("approval"))); errors.Is(err, brief.ErrGone) {
		return ErrDeviceGone.With(err)
	} else if err != nil {
		return err
	}
	yes := form.Get("decision") == "approve"
	if yes {
		err = b.approveDevice(ctx, v, b.where(r))
	} else {
		err = b.denyDevice(ctx, v)
	}
	if err != nil {
		return err
	}
	return b.page(w, r, v.Org, v.app.Name, templates.DeviceDonePage{App: v.app.Name, Approved: yes})
}

// approveDevice asks the door once more and gives the device its grant. Of two people who approve one
// device the first does: the device is claimed before anything is written, so the second leaves nothing, no
// consent and no mark. Where the first may not after all, the device waits for somebody else.
func (b *Broker) approveDevice(ctx context.Context, v askedDevice, from *netip.Addr) error {
	if err := b.turnDevice(ctx, v, deviceOpen, func(d *deviceRequest) { d.State = deviceClaimed }); err != nil {
		return err
	}
	g, err := b.approved(ctx, v, from)
	if err != nil {
		open := b.turnDevice(context.WithoutCancel(ctx), v, deviceClaimed, func(d *deviceRequest) { d.State = deviceOpen })
		if open != nil && !errors.Is(open, ErrDeviceGone) {
			b.Log.WarnContext(ctx, "a device that was not approved can be approved by nobody else", "error", open)
		}
		return err
	}
	return b.settleDevice(ctx, v, deviceClaimed, func(d *deviceRequest) { d.State, d.Grant = deviceApproved, &g })
}

// approved writes what an approval leaves and gives the device's grant.
func (b *Broker) approved(ctx context.Context, v askedDevice, from *netip.Addr) (codeGrant, error) {
	var mark AppMark
	var at time.Time
	var err error
	for range 3 {
		if mark, at, err = b.admitDevice(ctx, v, from); !errors.Is(err, ErrMoved) {
			break
		}
	}
	if err != nil {
		return codeGrant{}, err
	}
	return codeGrant{
		Kind: ByDevice, App: v.app.ID, Org: v.Org, Realm: v.session.Realm, Person: v.session.Person, Home: v.session.Home, Session: v.session.ID,
		SID: mark.SID, Scope: v.request.Scope, Resources: v.request.Resources, Issued: at,
	}, nil
}

// admitDevice writes what a sign-in to the app leaves, on condition that the person may.
func (b *Broker) admitDevice(ctx context.Context, v askedDevice, from *netip.Addr) (AppMark, time.Time, error) {
	a, err := b.Admit(ctx, admitRequest{
		Person: v.session.Person, Realm: v.session.Realm, Org: v.Org, App: v.app.ID, Session: v.session.held(), Owned: true, From: from,
	})
	if err != nil {
		return AppMark{}, time.Time{}, err
	}
	if !a.app.may(GrantDevice) {
		return AppMark{}, time.Time{}, ErrApp
	}
	if !policy.DeviceGrant.In(a.policy) {
		return AppMark{}, time.Time{}, ErrDevicePolicy
	}
	var mark AppMark
	err = b.Tx.InTx(ctx, func(ctx context.Context) error {
		mark = AppMark{} // this may run twice
		if err := b.stands(ctx, a); err != nil {
			return err
		}
		now, err := b.Sessions.Session(ctx, v.session.Home, v.session.ID)
		if err != nil {
			return err
		}
		if !now.Ended.IsZero() {
			return ErrMoved.Because("the session was ended")
		}
		if a.app.ThirdParty { // the page said what it learns
			if err := b.agree(ctx, a, v.request.Scope, nil); err != nil {
				return err
			}
		}
		mark, err = b.Sessions.MarkApp(ctx, v.session.Home, v.session.ID, newMark(v.app.ID, v.Org, a.at))
		if err != nil {
			return err
		}
		return b.recordDevice(ctx, v, audit.DeviceApproved)
	})
	if err != nil {
		return AppMark{}, time.Time{}, err // the write may still run: mark is its own
	}
	return mark, a.at, nil
}

func (b *Broker) denyDevice(ctx context.Context, v askedDevice) error {
	if err := b.settleDevice(ctx, v, deviceOpen, func(d *deviceRequest) { d.State = deviceDenied }); err != nil {
		return err
	}
	return b.recordDevice(ctx, v, audit.DeviceDenied)
}

// settleDevice writes the answer, if nobody was faster; the code is good for nothing afterwards.
func (b *Broker) settleDevice(ctx context.Context, v askedDevice, from deviceState, settle func(*deviceRequest)) error {
	if err := b.turnDevice(ctx, v, from, settle); err != nil {
		return err
	}
	return b.Brief.Delete(ctx, b.userCodeKey(v.Code))
}

// turnDevice takes a device from one state to the next: ErrDeviceGone where it is in another, or over.
func (b *Broker) turnDevice(ctx context.Context, v askedDevice, from deviceState, turn func(*deviceRequest)) error {
	err := b.changeDevice(ctx, v.Device, func(d *deviceRequest) error {
		if d.State != from || d.over(b.Now()) {
			return ErrDeviceGone
		}
		turn(d)
		return nil
	})
	if errors.Is(err, brief.ErrGone) {
		return ErrDeviceGone.With(err)
	}
	return err
}

func (b *Broker) recordDevice(ctx context.Context, v askedDevice, act audit.Action) error {
	return b.record(ctx, v.Org, v.session.Person, act, audit.Ref{Kind: "app", ID: string(v.app.ID)}, map[string]string{
		"session": string(v.session.ID), "network": v.request.Network,
	})
}
