package flows

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/vestibule-id/vestibule/audit"
	"github.com/vestibule-id/vestibule/broker/upstream"
	"github.com/vestibule-id/vestibule/delivery"
	"github.com/vestibule-id/vestibule/directory"
	"github.com/vestibule-id/vestibule/internal/brief"
	"github.com/vestibule-id/vestibule/internal/web"
	"github.com/vestibule-id/vestibule/mfa"
	"github.com/vestibule-id/vestibule/policy"
	"github.com/vestibule-id/vestibule/templates"
)

// This file is signing in by a link in a mail, and by the code behind it (S7). A link goes on with the login
// only in the browser that holds the login's cookie. In any other it shows, after a button was pressed, a
// code to be typed where the login waits. Opening a link changes nothing: programs open links before people
// do.

const (
	knowledge  = mfa.Knowledge
	possession = mfa.Possession
)

// mailed is what one mail brings, and to whom. It lies sealed in the login's row.
type mailed struct {
	Person directory.PersonID `json:"p"` // "" is nobody: no code is right
	Code   string             `json:"c"`
	Until  time.Time          `json:"u"`
}

func linkHash(token string) string {
	h := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

func newCode() string {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		panic(err) // never, since Go 1.24
	}
	return fmt.Sprintf("%06d", n)
}

// sendLink writes to the address, or does all that writing takes.
func (t *Turn) sendLink(ctx context.Context) error {
	e, l, loc := t.Engine, t.Login, t.Login.Local
	if t.State.Org != nil && !t.State.Org.Local.Link || !e.Judge.ByLink {
		return ErrOutOfOrder.Because("no links are sent here")
	}
	a, err := t.account(ctx)
	if err != nil {
		return err
	}
	token, now := directory.NewSecret(), e.Now()
	m := mailed{Code: newCode(), Until: now.Add(mailLife)}
	if a.known() && a.local.Link {
		m.Person = a.person.ID
	}
	if loc.Mail, err = e.By.sealed(l.ID, m); err != nil {
		return err
	}
	loc.Where, loc.Link, loc.Mails = atMailed, linkHash(token), loc.Mails+1
	if loc.Mails > maxMails {
		return nil // the page looks as if one more had been sent
	}
	if err := e.Brief.Put(ctx, "mail/"+loc.Link, []byte(l.ID), mailLife); err != nil {
		return err
	}
	return t.mail(ctx, a, m.Person != "", templates.LinkMail{
		URL: e.Origin + "/mail/" + token, App: l.Request.App.Name, Org: t.orgName(), Browser: l.Request.Place, At: now, Minutes: int(mailLife / time.Minute),
	}, m.Until)
}

// orgName is whose page the person sees; "" on the platform's, where the mail says no more than the page.
func (t *Turn) orgName() string {
	if t.State.Org == nil {
		return ""
	}
	return t.State.Org.Chain.Org().Name
}

// mail writes a message to the address that was typed. A budget that is used up looks like any other
// answer.
func (t *Turn) mail(ctx context.Context, a account, somebody bool, what delivery.Message, until time.Time) error {
	e, l := t.Engine, t.Login
	err := e.Judge.Directory.Tx.InTx(ctx, func(ctx context.Context) error {
		return e.By.Messages.Mail(ctx, delivery.Mail{
			Org: string(l.Org), Person: string(a.about(l.Local.Address)), To: a.mailbox(l.Local.Address), Language: templates.Language(l.Request.Locales, a.person.Locale, ""),
			Message: what, Network: addressOf(l.Request.Network), NotAfter: until, Nobody: !somebody,
		})
	})
	if errors.Is(err, delivery.ErrBudget) || errors.Is(err, delivery.ErrAddress) {
		l.note(t.State.Now, audit.Step{Name: string(StepAuthenticate), Text: "No mail was written: " + codeOf(err)})
		return nil
	}
	return err
}

// takeCode judges a code that was typed where the login waits.
func (t *Turn) takeCode(ctx context.Context, answer url.Values) error {
	e, l, loc := t.Engine, t.Login, t.Login.Local
	var m mailed
	if loc.Where != atMailed || !e.By.unsealed(l.ID, loc.Mail, &m) || !e.Now().Before(m.Until) {
		loc.Where, loc.Error = "", ""
		return nil
	}
	a, err := t.account(ctx)
	if err != nil {
		return err
	}
	if err := e.By.Tries.CountTry(ctx, a.person.Home, a.about(loc.Address), policy.EmailLink, e.Now()); err != nil {
		return err // too many, for this person, in all logins together
	}
	typed := strings.NewReplacer(" ", "", "-", "").Replace(answer.Get("code"))
	right := subtle.ConstantTimeCompare([]byte(typed), []byte(m.Code)) == 1
	if !right || m.Person == "" || m.Person != a.person.ID || !a.local.Link {
		loc.Tries++
		loc.Error = wrongCode
		l.note(t.State.Now, audit.Step{Name: string(StepAuthenticate), Text: "The code was not accepted."})
		if loc.Tries >= maxCodes {
			return e.over(ctx, l)
		}
		return nil
	}
	if err := e.By.Tries.ForgiveTry(ctx, a.person.Home, a.person.ID, policy.EmailLink, e.Now()); err != nil {
		return err
	}
	return t.mailProved(ctx, a)
}

// over drops a login in which too much was wrong.
func (e *Engine) over(ctx context.Context, l *Login) error {
	if err := e.logins().drop(ctx, l.ID); err != nil {
		return err
	}
	f := &Failure{Err: ErrTries, Trace: l.Trace.Code, Org: l.Org, App: l.Request.App, Locales: l.Request.Locales, At: e.Now()}
	e.keepTrace(ctx, l, f)
	return f
}

// mailProved makes a proof of the mailbox: the link is used up before it counts, on the disk (S16).
func (t *Turn) mailProved(ctx context.Context, a account) error {
	e, l := t.Engine, t.Login
	err := e.By.Spent.Spend(ctx, a.person.Home, "mail", l.Local.Link, e.Now().Add(mailLife+late))
	if errors.Is(err, upstream.ErrReplay) {
		return ErrOver.With(err)
	}
	if err != nil {
		return err
	}
	if err := e.Judge.Directory.ProveMailbox(ctx, directory.Actor{Kind: directory.Engine, ID: string(a.person.ID)}, a.person.Home, a.person.ID, a.mailbox(l.Local.Address)); err != nil {
		return err
	}
	l.note(t.State.Now, audit.Step{Name: string(StepAuthenticate), Text: "The person showed that the mailbox is theirs."})
	t.prove(a, Proof{Method: policy.EmailLink, Shows: possession, Channel: mailChannel(l.Local.Address), AMR: []string{"otp"}})
	return nil
}

// linked finds the login that a link belongs to. It changes nothing.
func (e *Engine) linked(r *http.Request) (*Login, mailed, error) {
	var m mailed
	hash := linkHash(r.PathValue("token"))
	id, err := e.Brief.Get(r.Context(), "mail/"+hash)
	if errors.Is(err, brief.ErrGone) {
		return nil, m, ErrOver.With(err)
	}
	if err != nil {
		return nil, m, err
	}
	l, err := e.logins().get(r.Context(), string(id))
	if err != nil {
		return nil, m, err
	}
	if l.Local == nil || l.Local.Link != hash || !e.By.unsealed(l.ID, l.Local.Mail, &m) || !e.Now().Before(m.Until) || m.Person == "" {
		return nil, m, &Failure{Err: ErrOver.Because("the link is not the last one, or was used"), App: l.Request.App, Locales: l.Request.Locales, At: e.Now()}
	}
	return l, m, nil
}

// showLink says what the link is for, and asks for a press on a button.
func (e *Engine) showLink(w http.ResponseWriter, r *http.Request) error {
	l, _, err := e.linked(r)
	if err != nil {
		return err
	}
	return e.page(w, r, l, http.StatusOK, e.linkPage(r, l))
}

func (e *Engine) linkPage(r *http.Request, l *Login) templates.LinkPage {
	return templates.LinkPage{
		Action: r.URL.Path, App: l.Request.App.Name, Account: l.Local.Address, Here: l.owned(e.Cookies.Get(r, browserCookie)), Browser: l.Request.Place,
		Minutes: max(1, int(e.Now().Sub(l.Started)/time.Minute)),
	}
}

// followLink goes on with the login in its own browser, and shows the code in any other.
func (e *Engine) followLink(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	if _, err := web.Form(r); err != nil {
		return err
	}
	l, m, err := e.linked(r)
	if err != nil {
		return err
	}
	if !l.owned(e.Cookies.Get(r, browserCookie)) {
		page := e.linkPage(r, l)
		page.Code = m.Code
		return e.page(w, r, l, http.StatusOK, page)
	}
	t, d, err := e.decide(ctx, l, r)
	if err != nil {
		return e.end(ctx, l, err)
	}
	if d.Refused != nil {
		return e.end(ctx, l, e.refused(t, d))
	}
	if d.Step != StepAuthenticate || !t.State.local(t.Policy) {
		http.Redirect(w, r, e.loginURL(l), http.StatusSeeOther)
		return nil
	}
	a, err := t.account(ctx)
	if err != nil {
		return err
	}
	if a.person.ID != m.Person || !a.local.Link {
		return &Failure{Err: ErrOver.Because("the account may not be signed in to by mail any more"), App: l.Request.App, At: e.Now()}
	}
	if err := t.mailProved(ctx, a); err != nil {
		return err
	}
	if err := e.logins().save(ctx, l); errors.Is(err, ErrOutOfOrder) {
		http.Redirect(w, r, e.loginURL(l), http.StatusSeeOther)
		return nil
	} else if err != nil {
		return err
	}
	return e.advance(w, r, l, true)
}

// resetting is what waits behind a link by which a password is chosen.
type resetting struct {
	Person  directory.PersonID   `json:"p"`
	Home    directory.OrgID      `json:"h"`
	Org     directory.OrgID      `json:"o"` // whose rules hold
	Address string               `json:"a"`
	Was     directory.PasswordID `json:"w"` // "" had none
	Request Request              `json:"r"`
	Until   time.Time            `json:"u"`
}

// sendReset writes a link by which a password is chosen anew, where the account may have one (S27).
func (t *Turn) sendReset(ctx context.Context) error {
	e, l, loc := t.Engine, t.Login, t.Login.Local
	if !e.Judge.ByLink || t.State.Org != nil && !t.State.Org.Local.Password {
		return ErrOutOfOrder.Because("no passwords here, or no mail")
	}
	a, err := t.account(ctx)
	if err != nil {
		return err
	}
	somebody := a.known() && a.mail && a.local.Password && a.person.Status == directory.Active
	kept, err := e.Judge.Directory.PasswordOf(ctx, a.person.Home, a.about(loc.Address))
	if err != nil {
		return err
	}
	token, now := directory.NewSecret(), e.Now()
	b, err := json.Marshal(resetting{
		Person: a.person.ID, Home: a.person.Home, Org: a.org, Address: loc.Address, Was: kept.ID, Until: now.Add(resetLife),
		Request: Request{App: l.Request.App, Network: l.Request.Network, Place: l.Request.Place, Locales: l.Request.Locales},
	})
	if err != nil {
		return err
	}
	loc.Where, loc.Mails = atReset, loc.Mails+1
	if loc.Mails > maxMails {
		return nil
	}
	key := "reset/" + linkHash(token)
	if !somebody {
		key = "reset/nobody/" + linkHash(token) // written all the same, and found by no link
	}
	if err := e.Brief.Put(ctx, key, b, resetLife); err != nil {
		return err
	}
	return t.mail(ctx, a, somebody, templates.ResetMail{
		URL: e.Origin + "/reset/" + token, Account: loc.Address, App: l.Request.App.Name, Org: t.orgName(), Browser: l.Request.Place, At: now, Minutes: int(resetLife / time.Minute),
	}, now.Add(resetLife))
}

// reset finds what a link stands for, with the account as it is now. It changes nothing.
func (e *Engine) reset(ctx context.Context, token string) (resetting, account, error) {
	var r resetting
	b, err := e.Brief.Get(ctx, "reset/"+linkHash(token))
	if errors.Is(err, brief.ErrGone) {
		return r, account{}, ErrOver.With(err)
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return r, account{}, err
	}
	over := &Failure{Err: ErrOver.Because("the account, its rules or its password changed since"), App: r.Request.App, Locales: r.Request.Locales, At: e.Now()}
	l := &Login{Org: r.Org, Request: r.Request, Local: &Local{Address: r.Address}}
	facts, eff, err := e.Judge.org(ctx, r.Org, r.Request.App)
	if errors.Is(err, ErrOrgUnavailable) {
		return r, account{}, over
	}
	if err != nil {
		return r, account{}, err
	}
	a, err := (&Turn{Engine: e, Login: l, State: State{Org: facts}, Policy: eff}).account(ctx)
	if err != nil {
		return r, a, err
	}
	kept, err := e.Judge.Directory.PasswordOf(ctx, r.Home, r.Person)
	if err != nil {
		return r, a, err
	}
	if a.person.ID != r.Person || !a.mail || !a.local.Password || kept.ID != r.Was || !e.Now().Before(r.Until) {
		return r, a, over
	}
	return r, a, nil
}

// showReset asks for the new password.
func (e *Engine) showReset(w http.ResponseWriter, r *http.Request) error {
	reset, a, err := e.reset(r.Context(), r.PathValue("token"))
	if err != nil {
		return err
	}
	return e.resetPage(w, r, reset, a, nil, false)
}

func (e *Engine) resetPage(w http.ResponseWriter, r *http.Request, reset resetting, a account, flaws []string, busy bool) error {
	l := &Login{Org: reset.Org, Request: reset.Request}
	return e.page(w, r, l, http.StatusOK, templates.NewPasswordPage{
		Action: r.URL.Path, Account: reset.Address, MinLength: passwordRules(a.policy).MinLength, Flaws: flaws, Busy: busy,
	})
}

// takeReset sets it. Nobody is signed in by that, no second step is skipped, and everything that was signed
// in is over (S27).
func (e *Engine) takeReset(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	form, err := web.Form(r)
	if err != nil {
		return err
	}
	if err := e.By.Admit(ctx, e.By.Network(r)); err != nil {
		return err
	}
	token := r.PathValue("token")
	reset, a, err := e.reset(ctx, token)
	if err != nil {
		return err
	}
	turn := (&Turn{Login: &Login{Request: reset.Request}}).turn(a)
	hash, flaws, err := e.newPassword(ctx, turn, a, form.Get("password"))
	if busy := isBusy(err); busy || err == nil && len(flaws) > 0 {
		return e.resetPage(w, r, reset, a, flaws, busy)
	}
	if err != nil {
		return err
	}
	err = e.By.Spent.Spend(ctx, reset.Home, "reset", linkHash(token), reset.Until.Add(late))
	if errors.Is(err, upstream.ErrReplay) {
		return ErrOver.With(err)
	}
	if err != nil {
		return err
	}
	err = e.setPassword(ctx, a, reset.Request, directory.NewPassword{
		Hash: hash, Source: directory.Mailed, Keep: passwordRules(a.policy).History, After: &reset.Was, Address: a.mailbox(reset.Address),
	})
	if errors.Is(err, directory.ErrPasswordMoved) {
		return ErrOver.With(err)
	}
	if err != nil {
		return err
	}
	if err := e.Brief.Delete(ctx, "reset/"+linkHash(token)); err != nil {
		e.Log.WarnContext(ctx, "a used reset link could not be removed; it is spent", "error", err)
	}
	l := &Login{Org: reset.Org, Request: reset.Request}
	return e.page(w, r, l, http.StatusOK, templates.PasswordDonePage{App: reset.Request.App.Name, AppURL: reset.Request.App.Home})
}
