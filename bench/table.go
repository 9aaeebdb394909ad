package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// print writes the tables as Markdown.
func print(out io.Writer, p plan, all []result, command, load string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n`%s`\n\n", machine(load), strings.TrimSpace(command))
	if len(p.Operations) > 0 {
		fmt.Fprintf(&b, "Processor milliseconds for one operation, %d at once:\n\n", p.Browsers)
		b.WriteString("| operation | on | organizations | service | PostgreSQL | Redis | together | at most | a second | p50 | p99 | ES256 sign and verify |\n")
		b.WriteString("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	}
	for _, o := range operations {
		for _, r := range all {
			for _, line := range r.rows {
				if line.name == o.name {
					b.WriteString(line.markdown(r))
				}
			}
		}
	}
	b.WriteString("\n| on | organizations | applying the manifest | cold start to the first answer | resident, idle | resident, at most | sign-in page | with all it loads | first byte |\n")
	b.WriteString("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, r := range all {
		fmt.Fprintf(&b, "| %s | %s | %.1f s | %d ms | %s | %s | %.1f KB | %.1f KB | %.1f ms |\n", r.backend, thousands(r.organizations), r.apply.Seconds(), r.start.Milliseconds(),
			mebibytes(r.idle), mebibytes(r.peak), float64(r.page.bytes)/1000, float64(r.page.all)/1000, ms(r.page.first))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (r row) markdown(of result) string {
	pg, redis, most := "–", "–", "–"
	if of.backend == onPostgres {
		pg, redis = fmt.Sprintf("%.3f", r.each(r.pg)), fmt.Sprintf("%.3f", r.each(r.redis))
	}
	if limit := limits[r.name+" on "+of.backend]; limit > 0 {
		most = fmt.Sprint(limit)
	}
	return fmt.Sprintf("| %s | %s | %s | %.3f | %s | %s | %.3f | %s | %.0f | %.1f ms | %.1f ms | %.3f |\n", r.name, of.backend, thousands(of.organizations),
		r.each(r.broker), pg, redis, r.each(r.broker+r.pg+r.redis), most, float64(r.count)/r.took.Seconds(), ms(r.p50), ms(r.p99), ms(r.signature))
}

// limits are the most that an operation may cost of all processes together, in milliseconds: the
// promises of the project. On databases of their own only the login's is promised.
var limits = map[string]float64{
	"login on " + onSQLite:              0.8,
	"login on " + onPostgres:            2,
	"saml on " + onSQLite:               1.5,
	"refresh on " + onSQLite:            0.3,
	"client_credentials on " + onSQLite: 0.15,
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func mebibytes(n int64) string { return fmt.Sprintf("%d MiB", (n+1<<19)>>20) }

func thousands(n int) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// machine says on what it was measured.
func machine(load string) string {
	model := runtime.GOARCH
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(raw)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return fmt.Sprintf("%s, %d cores, %s %s, %s; load before: %s. Driver and providers share the machine.",
		model, runtime.NumCPU(), runtime.GOOS, strings.TrimSpace(string(kernel)), runtime.Version(), load)
}

func loadAverage() string {
	raw, _ := os.ReadFile("/proc/loadavg")
	one, _, _ := strings.Cut(string(raw), " ")
	return one
}
