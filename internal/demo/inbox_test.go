package demo

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/vestibule-id/vestibule/delivery/mail"
	"github.com/vestibule-id/vestibule/delivery/sms"
)

func TestS54TheInboxIsShownOnThisMachineAlone(t *testing.T) {
	w := &World{}
	w.Inbox = &Inbox{Now: time.Now}
	_ = w.Inbox.Mail().Deliver(t.Context(), mail.Message{To: "ada@harbor.example", Subject: "s", Text: "t", HTML: "<p>"})
	for name, show := range map[string]func(http.ResponseWriter, *http.Request) error{"list": w.inbox, "message": w.message, "html": w.messageHTML} {
		for _, from := range []string{"192.0.2.1:5", "[2001:db8::1]:5", "", "localhost:5"} {
			r := httptest.NewRequest(http.MethodGet, "/demo/inbox/1", nil)
			r.SetPathValue("number", "1")
			r.RemoteAddr = from
			if err := show(httptest.NewRecorder(), r); err == nil {
				t.Errorf("%s is shown to %q", name, from)
			}
		}
	}
}

func TestTheInboxKeepsTheNewest(t *testing.T) {
	b := &Inbox{Now: time.Now}
	for i := range inboxHolds + 5 {
		_ = b.SMS().Deliver(t.Context(), sms.Message{To: "+1", Text: fmt.Sprintf("code %d\n\n@here #1", i)})
	}
	list := b.newest()
	if len(list) != inboxHolds || list[0].Subject != fmt.Sprintf("code %d", inboxHolds+4) || list[0].Number != inboxHolds+5 {
		t.Errorf("%d, %+v", len(list), list[0])
	}
	if _, found := b.numbered("5"); found {
		t.Error("the oldest is there still")
	}
	b.forget()
	if len(b.newest()) != 0 {
		t.Error("not forgotten")
	}
}

func TestLinksOfATextCanBeFollowedAndNothingElseIsMarkup(t *testing.T) {
	got := ""
	for _, line := range linked("<b>a</b> https://x.example/?a=b&c=\"d\nhttp://localhost:1/<i> javascript:alert(1)") {
		got += string(line) + "\n"
	}
	want := `&lt;b&gt;a&lt;/b&gt; <a href="https://x.example/?a=b&amp;c=" target="_blank" rel="noreferrer">https://x.example/?a=b&amp;c=</a>&#34;d` + "\n" +
		`<a href="http://localhost:1/" target="_blank" rel="noreferrer">http://localhost:1/</a>&lt;i&gt; javascript:alert(1)` + "\n"
	if got != want || strings.Contains(got, `href="javascript`) {
		t.Errorf("%s", got)
	}
}
