package templates

import (
	"bytes"
	"compress/gzip"
	"context"
	"embed"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/vestibule-id/vestibule/internal/fault"
	"github.com/vestibule-id/vestibule/themes"
)

//go:embed static
var static embed.FS

// ErrAsset: a page names a file that is not there.
var ErrAsset = fault.New(fault.Internal, "templates.unknown_asset", "A part of this page is missing.")

// bundles are the stylesheets that pages ask for, and what each is made of.
var bundles = map[string][]string{"auth.css": {"tokens.css", "components.css"}}

// Assets serves stylesheets, scripts and pictures under addresses that hold a hash of the content, so
// that browsers may keep them for ever: /assets/ for what comes with the product, /theme/ for what
// organizations chose. An address whose content is gone is not found; it never gets the newest file.
type Assets struct {
	// Theme finds the theme that Publish was given under a name, for a request that arrives where it is
	// not published: after a restart, or on another node. It is asked for stylesheets only. May be nil.
	Theme func(ctx context.Context, name string) (themes.Theme, error)

	names map[string]string // addresses of what comes with the product, by name: "auth.css"
	fixed map[string]*file  // what comes with the product, by address

	mu     sync.RWMutex
	sheets map[string]*file    // organizations' stylesheets, by address
	worn   map[sheetKey]string // their addresses
}

// file is content, ready to be sent.
type file struct {
	kind    string // media type
	etag    string
	body    []byte
	gzipped []byte // nil when sending as it is costs less
}

// NewAssets prepares everything that comes with the product.
func NewAssets() (*Assets, error) {
	a := &Assets{names: map[string]string{}, fixed: map[string]*file{}, sheets: map[string]*file{}, worn: map[sheetKey]string{}}
	// Pictures first: stylesheets name them, scripts and stylesheets name nothing else.
	for _, extension := range []string{".svg", ".js"} {
		if err := a.addStatic(extension); err != nil {
			return nil, err
		}
	}
	for name, parts := range bundles {
		if err := a.addBundle(name, parts); err != nil {
			return nil, err
		}
	}
	return a, a.addShippedLogos()
}

func (a *Assets) addStatic(extension string) error {
	return fs.WalkDir(static, "static", func(where string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(where) != extension {
			return err
		}
		content, err := static.ReadFile(where)
		if err != nil {
			return err
		}
		a.add(strings.TrimPrefix(where, "static/"), content)
		return nil
	})
}

var cssURL = regexp.MustCompile(`url\(([^)#:]+)\)`)

// addBundle joins stylesheets and rewrites the addresses in them.
func (a *Assets) addBundle(name string, parts []string) error {
	var joined bytes.Buffer
	for _, part := range parts {
		content, err := static.ReadFile("static/" + part)
		if err != nil {
			return err
		}
		joined.Write(content)
	}
	var missing error
	content := cssURL.ReplaceAllFunc(joined.Bytes(), func(found []byte) []byte {
		to, ok := a.names[string(cssURL.FindSubmatch(found)[1])]
		if !ok {
			missing = ErrAsset.Because(name + " names " + string(found))
		}
		return []byte("url(" + to + ")")
	})
	a.add(name, content)
	return missing
}

func (a *Assets) addShippedLogos() error {
	logos, err := themes.ShippedLogos()
	for name, content := range logos {
		a.names[name] = a.put("/theme/", name, content)
	}
	return err
}

func (a *Assets) add(name string, content []byte) {
	a.names[name] = a.put("/assets/", name, content)
}

// put keeps content under its address and returns that.
func (a *Assets) put(below, name string, content []byte) string {
	extension := path.Ext(name)
	address := below + strings.TrimSuffix(name, extension) + "." + themes.Hash(content) + extension
	a.fixed[address] = newFile(extension, content)
	return address
}

var kinds = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
	".png": "image/png",
}

func newFile(extension string, content []byte) *file {
	f := &file{kind: kinds[extension], etag: `"` + themes.Hash(content) + `"`, body: content}
	if len(content) < 1024 || extension == ".png" {
		return f
	}
	var small bytes.Buffer
	// The level is valid and a buffer takes everything, so neither call can fail.
	w, _ := gzip.NewWriterLevel(&small, gzip.BestCompression)
	_, _ = w.Write(content)
	_ = w.Close()
	if small.Len() < len(content) {
		f.gzipped = small.Bytes()
	}
	return f
}

// URL is the address of what comes with the product: "auth.css", "acme-bank.svg".
func (a *Assets) URL(name string) (string, error) {
	address, ok := a.names[name]
	if !ok {
		return "", ErrAsset.Because(name)
	}
	return address, nil
}

// ServeHTTP is mounted at /assets/ and /theme/.
func (a *Assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	f := a.find(r)
	if f == nil {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNotFound)
		return
	}
	f.serve(w, r)
}

func (a *Assets) find(r *http.Request) *file {
	if f := a.published(r.URL.Path); f != nil {
		return f
	}
	named := sheetAddress.FindStringSubmatch(r.URL.Path)
	if named == nil || a.Theme == nil {
		return nil
	}
	theme, err := a.Theme(r.Context(), named[1])
	if err != nil {
		return nil
	}
	if _, err := a.Publish(named[1], theme); err != nil {
		return nil
	}
	return a.published(r.URL.Path)
}

func (a *Assets) published(address string) *file {
	if f := a.fixed[address]; f != nil {
		return f
	}
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.sheets[address]
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.kind)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	// An SVG that somebody opens by itself is a document: it gets no right to anything (S35).
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	body := f.body
	etag := f.etag
	if f.gzipped != nil && accepts(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body, etag = f.gzipped, strings.TrimSuffix(f.etag, `"`)+`-gz"`
	}
	h.Set("ETag", etag)
	if strings.Contains(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method == http.MethodGet {
		// A browser that went away is no concern of ours.
		_, _ = w.Write(body)
	}
}

// accepts reads Accept-Encoding as RFC 9110 section 12.5.3 has it, but for "*", which no browser sends.
func accepts(header, encoding string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, parameter, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(name), encoding) {
			continue
		}
		q := strings.ReplaceAll(strings.TrimSpace(parameter), " ", "")
		return strings.Trim(strings.TrimPrefix(q, "q="), "0.") != "" || q == ""
	}
	return false
}
