package templates

import (
	"bytes"
	"encoding/json"
	"html/template"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/themes"
)

// This file writes letters out: one skeleton for all, HTML for those who see it and the same in plain
// text, in the colors of the organization. What a letter says is its method say.

// ErrLetter: a letter has no such name, or holds a code or an address that cannot be one.
var ErrLetter = fault.New(fault.Internal, "templates.letter", "This message could not be written.")

// Letter is one of the structs of letters.go.
type Letter interface {
	Template() string
	say(s *speech)
}

// LetterLook is whose letter it is.
type LetterLook struct {
	Org   string       // "" is the platform
	Theme themes.Theme // merged with its ancestors'
	Base  string       // the origin under which assets are served: "https://login.example.com"
}

// Written is a letter as it is sent. An SMS is Text alone. Sender is the organization's name, "" the
// platform.
type Written struct{ Sender, Subject, Text, HTML string }

var letters = []Letter{CodeMail{}, LinkMail{}, ResetMail{}, FactorChangedMail{}, RecoveryUsedMail{}, OperatorInvitationMail{}, CodeSMS{}}

// ReadLetter gives the letter of a name with what was said in JSON.
func ReadLetter(name string, message []byte) (Letter, error) {
	for _, l := range letters {
		if l.Template() != name {
			continue
		}
		v := reflect.New(reflect.TypeOf(l))
		if err := json.Unmarshal(message, v.Interface()); err != nil {
			return nil, ErrLetter.With(err)
		}
		return v.Elem().Interface().(Letter), nil
	}
	return nil, ErrLetter.Because(name)
}

// speech collects what a letter says.
type speech struct {
	words     catalogue
	Lang, Dir string
	Subject   string
	Preheader string
	Title     string
	Intro     string
	Code      string
	Button    string
	URL       string
	Warn      string
	Facts     []said
	// Unexpected is for whoever did not ask for it.
	Unexpected string
	short      string // the text of an SMS
}

// said is one line of what is known: a label and its value.
type said struct{ Label, Value string }

// say gives a sentence as plain text.
func (s *speech) say(key string, args ...string) string {
	pairs := make([]string, 0, 2*len(args))
	for i, arg := range args {
		pairs = append(pairs, "{"+strconv.Itoa(i+1)+"}", arg)
	}
	return strings.NewReplacer(pairs...).Replace(s.words[key].plain)
}

// either gives the sentence of key when something is known, else that of key_bare.
func (s *speech) either(key, known string, args ...string) string {
	if known == "" {
		return s.say(key+"_bare", args...)
	}
	return s.say(key, append([]string{known}, args...)...)
}

func (s *speech) fact(key, value string) {
	if value != "" {
		s.Facts = append(s.Facts, said{s.say("mail.fact." + key), value})
	}
}

// origin says what asked, from where and when.
func (s *speech) origin(browser, place string, at time.Time) {
	s.fact("browser", browser)
	s.fact("place", place)
	s.fact("when", s.moment(at))
}

// moment writes a time with its zone.
func (s *speech) moment(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	at = at.UTC()
	months := strings.Split(s.words["mail.months"].plain, " ")
	return s.say("mail.moment", strconv.Itoa(at.Day()), months[(int(at.Month())-1)%len(months)], strconv.Itoa(at.Year()), at.Format("15:04"))
}

func (m CodeMail) say(s *speech) {
	s.Subject = s.either("mail.code.subject", m.App)
	s.Title = s.say("mail.code.title")
	s.Intro = s.either("mail.code.intro", m.App)
	s.Preheader = s.say("mail.minutes", strconv.Itoa(m.Minutes))
	s.Code = m.Code
	s.Warn = s.say("mail.code.warn")
	s.fact("app", m.App)
	s.fact("org", m.Org)
	s.origin(m.Browser, m.Place, m.At)
	s.fact("works", s.Preheader)
	s.Unexpected = s.say("mail.code.unexpected")
}

func (m LinkMail) say(s *speech) {
	s.Subject = s.either("mail.link.subject", m.App)
	s.Title = s.either("mail.link.title", m.App)
	s.Intro = s.say("mail.link.intro")
	s.Preheader = s.say("mail.minutes", strconv.Itoa(m.Minutes))
	s.Button, s.URL = s.say("mail.link.button"), m.URL
	s.Warn = s.say("mail.link.warn")
	s.fact("app", m.App)
	s.fact("org", m.Org)
	s.origin(m.Browser, m.Place, m.At)
	s.fact("works", s.Preheader)
	s.Unexpected = s.say("mail.link.unexpected")
}

func (m ResetMail) say(s *speech) {
	s.Subject = s.say("mail.reset.subject")
	s.Title = s.Subject
	s.Intro = s.say("mail.reset.intro")
	s.Preheader = s.say("mail.minutes", strconv.Itoa(m.Minutes))
	s.Button, s.URL = s.say("mail.reset.button"), m.URL
	s.Warn = s.say("mail.reset.warn")
	s.fact("account", m.Account)
	s.fact("app", m.App)
	s.fact("org", m.Org)
	s.origin(m.Browser, m.Place, m.At)
	s.fact("works", s.Preheader)
	s.Unexpected = s.say("mail.reset.unexpected")
}

func (m FactorChangedMail) say(s *speech) {
	change := m.Change
	if s.words["mail.factor_changed."+change+".subject"].plain == "" {
		change = FactorReplaced
	}
	factor := s.say("mail.factor." + m.Factor)
	if factor == "" {
		factor = s.say("mail.factor.other")
	}
	s.Subject = s.say("mail.factor_changed." + change + ".subject")
	s.Title = s.Subject
	s.Intro = s.say("mail.factor_changed." + change + ".intro")
	s.Preheader = factor
	s.fact("factor", factor)
	s.fact("name", m.Name)
	s.fact("org", m.Org)
	s.origin(m.Browser, m.Place, m.At)
	s.undo(m.URL, m.Org)
}

// undo says what to do when it was somebody else.
func (s *speech) undo(address, org string) {
	if address != "" {
		s.Button, s.URL = s.say("mail.notice.button"), address
		s.Warn = s.say("mail.notice.warn")
	} else {
		s.Warn = s.either("mail.notice.warn_org", org)
	}
	s.Unexpected = s.say("mail.notice.unexpected")
}

func (m RecoveryUsedMail) say(s *speech) {
	s.Subject = s.say("mail.recovery_used.subject")
	s.Title = s.Subject
	s.Intro = s.say("mail.recovery_used.intro")
	s.Preheader = s.say("mail.fact.left") + ": " + strconv.Itoa(m.Left)
	s.fact("left", strconv.Itoa(m.Left))
	s.fact("app", m.App)
	s.fact("org", m.Org)
	s.origin(m.Browser, m.Place, m.At)
	s.undo(m.URL, m.Org)
}

func (m OperatorInvitationMail) say(s *speech) {
	s.Subject = s.say("mail.invitation_operator.subject", m.Host)
	s.Title = s.say("mail.invitation_operator.title", m.Host)
	s.Intro = s.either("mail.invitation_operator.intro", m.By)
	s.Preheader = s.say("mail.until", s.moment(m.Until))
	s.Button, s.URL = s.say("mail.invitation_operator.button"), m.URL
	s.fact("by", m.By)
	s.fact("until", s.moment(m.Until))
	s.Unexpected = s.say("mail.invitation_operator.unexpected")
}

// The last line of the SMS lets phones fill the code in at that host and nowhere else (the format of
// origin-bound one-time codes, github.com/WICG/sms-one-time-codes).
func (m CodeSMS) say(s *speech) {
	s.short = s.say("sms.code_bare", m.Code)
	if m.App != "" {
		s.short = s.say("sms.code", m.Code, cut(m.App, smsName))
	}
	if host, _, _ := strings.Cut(m.Host, ":"); host != "" {
		s.short += "\n\n@" + host + " #" + m.Code
	}
}

// palette are the colors of one scheme.
type letterColors struct{ Fill, On, Edge, Text, Tint, Line template.CSS }

func colorsOf(p themes.Palette) letterColors {
	c := func(c themes.Color) template.CSS { return template.CSS(c.String()) }
	return letterColors{c(p.Brand), c(p.OnBrand), c(p.BrandEdge), c(p.BrandText), c(p.BrandTint), c(p.BrandLine)}
}

// letterView is what the skeleton is given.
type letterView struct {
	*speech
	Org, Initial, Logo string
	Plain, Help, Sent  string
	HelpLabel          string
	Light, Dark        letterColors
}

var letterPage = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("mail.html").Option("missingkey=error").ParseFS(pageFiles, "layout/mail.html"))
})

// Letter writes a letter in a language and a look.
func (r *Renderer) Letter(look LetterLook, lang string, l Letter) (Written, error) {
	l, err := tidy(l)
	if err != nil {
		return Written{}, err
	}
	words := catalogueOf(Language(lang))
	s := &speech{words: words, Lang: words["lang"].plain, Dir: words["dir"].plain}
	l.say(s)
	if s.short != "" {
		return Written{Text: s.short}, nil
	}
	v, err := r.letterView(look, s)
	if err != nil {
		return Written{}, err
	}
	var page bytes.Buffer
	if err := letterPage().Execute(&page, v); err != nil {
		return Written{}, ErrRender.With(err)
	}
	return Written{Sender: plain(look.Org), Subject: s.Subject, Text: v.text(), HTML: page.String()}, nil
}

func (r *Renderer) letterView(look LetterLook, s *speech) (letterView, error) {
	theme := themes.Effective(look.Theme)
	brand, err := themes.ParseColor(theme.Brand)
	if err != nil {
		return letterView{}, err
	}
	light, dark := themes.Derive(brand)
	v := letterView{speech: s, Org: plain(look.Org), Light: colorsOf(light), Dark: colorsOf(dark), Plain: s.say("mail.plain"), HelpLabel: s.say("foot.help")}
	v.Sent = s.either("mail.sent", v.Org)
	if v.Org == "" {
		v.Org = s.say("product")
	}
	first, _ := utf8.DecodeRuneInString(v.Org)
	v.Initial = string(unicode.ToUpper(first))
	// Mail programs show no SVG: without a PNG the first letter stands for the logo.
	if address := r.assets.names[theme.Logo]; strings.HasSuffix(address, ".png") && look.Base != "" {
		v.Logo = look.Base + address
	}
	if strings.HasPrefix(theme.Help, "https://") || strings.HasPrefix(theme.Help, "mailto:") {
		v.Help = theme.Help
	}
	return v, nil
}

// text is the letter in plain text.
func (v letterView) text() string {
	var b strings.Builder
	block := func(s string) {
		if s != "" {
			b.WriteString(wrapped(s))
			b.WriteString("\n\n")
		}
	}
	block(v.Title)
	block(v.Intro)
	if v.Code != "" {
		b.WriteString("    " + v.Code + "\n\n")
	}
	if v.Button != "" {
		b.WriteString(v.Button + ":\n" + v.URL + "\n\n")
	}
	block(v.Warn)
	for _, f := range v.Facts {
		b.WriteString(f.Label + ": " + f.Value + "\n")
	}
	if len(v.Facts) > 0 {
		b.WriteString("\n")
	}
	block(v.Unexpected)
	if v.Help != "" {
		b.WriteString(v.HelpLabel + ": " + v.Help + "\n\n")
	}
	b.WriteString(v.Sent + "\n")
	return b.String()
}

// wrapped breaks lines at 72 columns.
func wrapped(s string) string {
	var b strings.Builder
	width := 0
	for i, word := range strings.Fields(s) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case width+1+n > 72:
			b.WriteByte('\n')
			width = 0
		default:
			b.WriteByte(' ')
			width++
		}
		b.WriteString(word)
		width += n
	}
	return b.String()
}

// tidy takes out of every string what must not be in a letter (S45), by what its tag says it is.
func tidy(l Letter) (Letter, error) {
	v := reflect.New(reflect.TypeOf(l)).Elem()
	v.Set(reflect.ValueOf(l))
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() != reflect.String {
			continue
		}
		text, ok := cleaned(v.Type().Field(i).Tag.Get("letter"), f.String())
		if !ok {
			return nil, ErrLetter.Because(l.Template() + ": " + v.Type().Field(i).Name)
		}
		f.SetString(text)
	}
	return v.Interface().(Letter), nil
}

var (
	letterCode = regexp.MustCompile(`^[0-9A-Za-z]([0-9A-Za-z-]{2,22}[0-9A-Za-z])$`)
	letterHost = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?$`)
	letterPart = regexp.MustCompile(`^[^\s\pC<>"(),:;\[\]\\@]+$`)
)

// letterAddress counts the characters itself: a pattern that counts them takes 7 MB of memory.
func letterAddress(s string) bool {
	local, domain, ok := strings.Cut(s, "@")
	part := func(s string, most int) bool { return utf8.RuneCountInString(s) <= most && letterPart.MatchString(s) }
	return ok && part(local, 64) && part(domain, 255)
}

func cleaned(kind, s string) (string, bool) {
	switch kind {
	case "code":
		return s, letterCode.MatchString(s)
	case "host":
		return s, s == "" || letterHost.MatchString(s)
	case "url":
		return s, s == "" || isLink(s)
	case "address":
		return s, s == "" || letterAddress(s)
	}
	return plain(s), true
}

// isLink says whether a link may stand in a letter: https, or http on this machine.
func isLink(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"<>\\^`{|}", r) }) {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1")
}

// How many characters of a name are shown. An SMS is paid for by length.
const (
	nameLength = 80
	smsName    = 30
)

var (
	scheme = regexp.MustCompile(`(?i)\b[a-z][a-z0-9+.-]{1,20}:/*|\bwww\.`)
	// joined is a dot or a sign between two characters, or a slash, by which mail programs find links and
	// mailboxes to make clickable.
	joined = regexp.MustCompile(`([\pL\pN])[.。．｡@＠/\\]+([\pL\pN])`)
)

// plain is a name as people read it and as no program reads a link in it: without control characters,
// characters that turn the reading direction or are not seen, and what makes an address of the web.
func plain(s string) string {
	s = strings.ToValidUTF8(s, "")
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.In(r, unicode.C, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
			return -1 // Cf holds what joins, hides and turns
		}
		return r
	}, s)
	s = scheme.ReplaceAllString(s, " ")
	for joined.MatchString(s) { // each pass separates every other one
		s = joined.ReplaceAllString(s, "$1 $2")
	}
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune("<>@/\\＠", r) {
			return -1
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	return cut(s, nameLength)
}

func cut(s string, most int) string {
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most-1]) + "…"
	}
	return s
}
