package outbound

import (
	"fmt"
	"io"
	"net/http"
)

// ReadAll reads a body to its end and closes it. Past max bytes it fails with ErrTooLarge, whatever the
// answer announced; what is counted is the unpacked text, so a small bomb counts as what it becomes.
func ReadAll(resp *http.Response, max int64) ([]byte, error) {
	defer resp.Body.Close()
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		// The transport unpacks what it asked for. Anything else was not asked for.
		return nil, fmt.Errorf("outbound: content encoding that was not asked for")
	}
	if resp.ContentLength > max {
		return nil, ErrTooLarge
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, max+1))
	if err != nil {
		return nil, fmt.Errorf("outbound: reading the answer: %w", err)
	}
	if int64(len(body)) > max {
		return nil, ErrTooLarge
	}
	return body, nil
}
