package directory

import (
	"crypto/sha256"
	"encoding/json"
	"testing"
)

func TestAHashIsReadBackAsItWasWrittenOrRefused(t *testing.T) {
	h := Hash(sha256.Sum256([]byte("secret")))
	text, err := json.Marshal(h)
	if err != nil || string(text) != `"K7gNU3sdo-OL0wNhqoVWhr3g6s1xYv72ol_pe_Unols"` {
		t.Fatalf("%s, %v", text, err)
	}
	var again Hash
	if err := json.Unmarshal(text, &again); err != nil || again != h {
		t.Errorf("%x, %v", again, err)
	}
	for _, bad := range []string{`""`, `"K7gN"`, `"K7gNU3sdo-OL0wNhqoVWhr3g6s1xYv72ol_pe_Unol\n"`, `"K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols"`, `"` + string(text[1:44]) + `A"`, `[1,2]`} {
		if err := json.Unmarshal([]byte(bad), &again); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
