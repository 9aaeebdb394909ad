package delivery

import (
	"errors"
	"testing"
)

func everyCountry() map[string]int64 {
	all := map[string]int64{}
	for _, c := range callingCodes {
		all[c.country] = 1
	}
	return all
}

func TestS30NumbersAreReadAndPlaced(t *testing.T) {
	p := &Post{Limits: Limits{Prices: everyCountry()}}
	for typed, want := range map[string]string{
		"+49 170 1234567":        "+491701234567 DE",
		"0049-170-1234567":       "+491701234567 DE",
		"+1 (202) 555-0123":      "+12025550123 US",
		"+1 416 555 0123":        "+14165550123 CA",
		"+1 876 555 0123":        "+18765550123 JM",
		"+52 55 1234 5678":       "+525512345678 MX",
		"+44 7400 123456":        "+447400123456 GB",
		"+44 7797 123456":        "+447797123456 JE",
		"+7 701 123 4567":        "+77011234567 KZ",
		"+7 901 123 45 67":       "+79011234567 RU",
		"+385 91 123 4567":       "+385911234567 HR",
		"+421 901 123 456":       "+421901123456 SK",
		"+91 90000 12345":        "+919000012345 IN",
		"+65 9012 3456":          "+6590123456 SG",
		"+86 131 2345 6789":      "+8613123456789 CN",
		"+852 9012 3456":         "+85290123456 HK",
		"+90 532 123 45 67":      "+905321234567 TR",
		"+32 470 12 34 56":       "+32470123456 BE",
		"+353 85 012 3456":       "+353850123456 IE",
		"+599 9 123 4567":        "+59991234567 CW",
		"+599 3 123 4567":        "+59931234567 BQ",   //
		"+46 70 123 45 67":       "+46701234567 SE",   //
		"+351 912 345 678":       "+351912345678 PT",  //
		"+386 40 123 456":        "+38640123456 SI",   //
		"+36 20 123 4567":        "+36201234567 HU",   //
		"+55 11 91234 5678":      "+5511912345678 BR", //
		"+54 9 11 12345678":      "+5491112345678 AR", //
		"+61 412 345 678":        "+61412345678 AU",   //
		"+44 9012 345678":        "",                  // premium
		"+44 7012 345678":        "",                  // personal numbers
		"+49 900 1234567":        "",                  // premium
		"+33 899 12 34 56":       "",                  //
		"+1 900 555 0123":        "",                  //
		"+1 800 555 0123":        "",                  // nobody's phone
		"+1 500 555 0123":        "",                  //
		"+979 123 456 789":       "",                  // international premium rate
		"+881 6 1234 5678":       "",                  // satellites
		"+882 16 1234 5678":      "",                  //
		"+870 773 123 456":       "",                  //
		"+808 1234 5678":         "",                  // international shared cost
		"+999 1234 5678":         "",                  // nowhere
		"170 1234567":            "",                  // no country
		"+49":                    "",                  //
		"+49 170 12345678901234": "", "+49 170 1234567\r\nX: y": "", "+49170123456x": "", "": "", "+": "", "+4917012345６7": "",
	} {
		got, err := p.Number(typed)
		if err == nil {
			got += " " + countryOf(got[1:])
		}
		if got != want || (want == "") != errors.Is(err, ErrNumber) {
			t.Errorf("%q is %q (%v), not %q", typed, got, err, want)
		}
	}
}

func TestS30NoCountryIsAllowedUntilItIsNamed(t *testing.T) {
	p := &Post{Limits: DefaultLimits()}
	if _, err := p.Number("+49 170 1234567"); !errors.Is(err, ErrNumber) {
		t.Error("allowed by default")
	}
	p.Limits.Prices = map[string]int64{"US": 1}
	for typed, allowed := range map[string]bool{"+1 202 555 0123": true, "+1 876 555 0123": false, "+1 416 555 0123": false, "+49 170 1234567": false} {
		if _, err := p.Number(typed); (err == nil) != allowed {
			t.Errorf("%s: %v", typed, err)
		}
	}
}

// No code is two countries', and none is missing that a longer one hides.
func TestEveryCallingCodeIsOneCountrys(t *testing.T) {
	seen := map[string]string{}
	for code, country := range byCode() {
		if other, twice := seen[code]; twice {
			t.Errorf("%s is %s and %s", code, country, other)
		}
		seen[code] = country
	}
	countries := map[string]int{}
	for _, c := range callingCodes {
		if countries[c.country]++; countries[c.country] > 1 || len(c.country) != 2 {
			t.Errorf("%s stands here twice, or is no code", c.country)
		}
	}
	if len(countries) < 225 {
		t.Errorf("%d countries", len(countries))
	}
}
