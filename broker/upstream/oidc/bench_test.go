package oidc

import (
	"net/url"
	"strings"
	"syscall"
	"testing"

	"github.com/vestibule-id/vestibule/broker/upstream"
)

// BenchmarkArrive is all of our own work for one arrival: code exchange without a network, ES256
// verification, claims. performance.md wants whole logins by CPU, so that is reported: a busy machine does
// not change it.
func BenchmarkArrive(b *testing.B) {
	key := newKey(b)
	claims := `{"iss":"https://idp.example","sub":"alice","aud":"c","nonce":"` + strings.Repeat("n", 43) + `","iat":1777863721,"exp":1777864021,` +
		`"auth_time":1777863721,"email":"alice@acme.example","email_verified":true,"name":"Alice Example","given_name":"Alice","family_name":"Example",` +
		`"groups":["staff","admins"],"amr":["pwd","otp"],"acr":"2","sid":"s1","at_hash":"` + atHash("at") + `"}`
	net := canned{"/token": `{"access_token":"at","token_type":"Bearer","expires_in":300,"id_token":"` + key.jws([]byte(claims)) + `"}`}
	up := inProcess(b, key, net, fuzzNow)
	a := fuzzAttempt()
	b.ReportAllocs()
	defer reportCPU(b)()
	for b.Loop() {
		_, r, err := up.Arrive(b.Context(), a, upstream.Arrival{Method: "GET", Values: url.Values{"state": {a.ID}, "code": {"x"}}})
		if err != nil {
			b.Fatal(err, r)
		}
	}
}

func BenchmarkDepart(b *testing.B) {
	up := inProcess(b, newKey(b), canned{}, fuzzNow)
	a := fuzzAttempt()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := up.Depart(b.Context(), a); err != nil {
			b.Fatal(err)
		}
	}
}

func reportCPU(b *testing.B) func() {
	start := cpuTime(b)
	return func() { b.ReportMetric(float64(cpuTime(b)-start)/float64(b.N), "cpu-us/op") }
}

func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return (u.Utime.Sec+u.Stime.Sec)*1e6 + u.Utime.Usec + u.Stime.Usec
}
