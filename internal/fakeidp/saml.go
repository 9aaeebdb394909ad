package fakeidp

import (
	"crypto/x509"
	"net/http"
	"net/url"
	"slices"

	"github.com/vestibule-id/vestibule/broker/upstream/saml/samltest"
)

// SP is an application at a SAML provider.
type SP struct {
	EntityID string
	Name     string   // shown; empty means the entityID
	ACS      []string // exact; the first is where answers go when the request names none
	// Signing: when there are any, a request must be signed with one of them.
	Signing []*x509.Certificate
	// EncryptTo, an RSA certificate, makes every assertion an encrypted one.
	EncryptTo *x509.Certificate
}

func (s SP) name() string {
	if s.Name != "" {
		return s.Name
	}
	return s.EntityID
}

// SSO is where a SAML provider takes requests, by HTTP-Redirect and by HTTP-POST.
func (p *Provider) SSO() string { return p.Base + "/saml/sso" }

func (p *Provider) routeSAML(mux *http.ServeMux) {
	mux.HandleFunc("GET /saml/metadata", p.backChannel(p.metadata))
	mux.HandleFunc("GET /saml/sso", p.sso)
	mux.HandleFunc("POST /saml/sso", p.sso)
}

// metadata is SAML Metadata section 2.4.3, with every key that is published.
func (p *Provider) metadata(w http.ResponseWriter, r *http.Request) {
	doc, err := p.Metadata()
	if err != nil {
		http.Error(w, "The metadata could not be written.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", p.contentType())
	w.Write(doc)
}

// Metadata is the document that an administrator would download, paste or name by its address.
func (p *Provider) Metadata() ([]byte, error) {
	m := samltest.Metadata{EntityID: p.EntityID(), Redirect: p.SSO(), Post: p.SSO()}
	for _, k := range p.published() {
		m.Signing = append(m.Signing, k.Cert)
	}
	return m.XML()
}

func (p *Provider) sp(entityID string) (SP, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	i := slices.IndexFunc(p.SPs, func(s SP) bool { return s.EntityID == entityID })
	if i < 0 {
		return SP{}, false
	}
	return p.SPs[i], true
}

// authnRequest is one request that may be answered.
type authnRequest struct {
	samltest.Request
	sp SP
	to string
}

// sso is SAML Profiles section 4.1. As with an unknown redirect_uri, nothing is sent anywhere until the
// application and its address are known to belong together.
func (p *Provider) sso(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		p.note(w, http.StatusBadRequest, "The request cannot be read", "Go back to the application and start again.")
		return
	}
	read, err := samltest.ReadRequest(r.Method, r.Form)
	if err != nil {
		p.note(w, http.StatusBadRequest, "The request cannot be read", "Go back to the application and start again.")
		return
	}
	sp, ok := p.sp(read.Issuer)
	if read.ACS == "" && len(sp.ACS) > 0 {
		read.ACS = sp.ACS[0]
	}
	if !ok || !slices.Contains(sp.ACS, read.ACS) || read.Destination != "" && read.Destination != p.SSO() {
		p.note(w, http.StatusBadRequest, "Unknown application", "No application is registered here with this entityID and this address. Whoever set up the connection has to register it.")
		return
	}
	if !p.soundlySigned(r, read, sp) {
		p.note(w, http.StatusForbidden, "The request is not signed as agreed", "This application has to sign its requests, and this one is not, or not with its certificate. Whoever runs the application can mend that.")
		return
	}
	p.askSAML(w, r, authnRequest{read, sp, read.ACS})
}

func (p *Provider) askSAML(w http.ResponseWriter, r *http.Request, q authnRequest) {
	hint := q.Hint
	if hint == "" {
		hint = r.Form.Get("login_hint")
	}
	if q.Root.SelectAttrValue("IsPassive", "") == "true" && !p.silent() {
		p.sendStatus(w, q, statusNoPassive)
		return
	}
	p.ask(w, r, &request{
		app: q.sp.name(), hint: hint, again: q.ForceAuthn,
		answer: func(w http.ResponseWriter, r *http.Request, who Person, m Misbehavior) { p.answerSAML(w, r, q, who, m) },
		refuse: func(w http.ResponseWriter, _ *http.Request) { p.sendStatus(w, q, statusDenied) },
	})
}

// SAML Core section 3.2.2.2.
const (
	statusResponder = "urn:oasis:names:tc:SAML:2.0:status:Responder"
	statusNoPassive = "urn:oasis:names:tc:SAML:2.0:status:NoPassive"
	statusDenied    = "urn:oasis:names:tc:SAML:2.0:status:RequestDenied"
)

func (p *Provider) sendStatus(w http.ResponseWriter, q authnRequest, status string) {
	answer := p.response(q, None)
	answer.Status, answer.SubStatus = statusResponder, status
	p.sendSAML(w, q, answer, None)
}

func (p *Provider) answerSAML(w http.ResponseWriter, r *http.Request, q authnRequest, who Person, m Misbehavior) {
	// What the whole provider suffers from has been suffered on the way in.
	if m.breaksTransport() && m != p.misbehavior() && p.trouble(w, r, m) {
		return
	}
	p.sendSAML(w, q, p.assert(q, who, m), m)
}

// sendSAML is SAML Bindings section 3.5.
func (p *Provider) sendSAML(w http.ResponseWriter, q authnRequest, answer samltest.Response, m Misbehavior) {
	form, err := answer.Form(q.RelayState)
	if err != nil {
		p.note(w, http.StatusInternalServerError, "The answer could not be written", "Whoever runs this demonstration finds the reason in how "+q.sp.name()+" is registered here: assertions can be encrypted to RSA certificates only.")
		return
	}
	if m == Garbage {
		form = samltest.Form([]byte(garbage), q.RelayState)
	}
	p.send(w, q.sp.name(), q.to, fieldsOf(form)...)
}

func fieldsOf(form url.Values) []field {
	fields := []field{{"SAMLResponse", form.Get("SAMLResponse")}}
	if form.Has("RelayState") {
		fields = append(fields, field{"RelayState", form.Get("RelayState")})
	}
	return fields
}
