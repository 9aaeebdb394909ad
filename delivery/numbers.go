package delivery

import (
	"slices"
	"strings"
	"sync"
)

// This file reads phone numbers (ITU-T E.164) as far as it must: to which country a message goes, and
// whether the number is one that costs its caller extra. It is no directory: what it does not know is
// refused.

// Number reads a typed number and gives "+" and its digits.
func (p *Post) Number(typed string) (string, error) {
	var digits strings.Builder
	typed = strings.TrimSpace(typed)
	rest, plus := strings.CutPrefix(typed, "+")
	if !plus {
		var zeros bool
		if rest, zeros = strings.CutPrefix(typed, "00"); !zeros {
			return "", ErrNumber.Because("no country code")
		}
	}
	if len(rest) > 40 {
		return "", ErrNumber.Because("too long")
	}
	for _, r := range rest {
		switch {
		case r >= '0' && r <= '9':
			digits.WriteRune(r)
		case strings.ContainsRune(" -./()\u00a0\u2011", r):
		default:
			return "", ErrNumber.Because("not a number")
		}
	}
	number := "+" + digits.String()
	if _, _, err := p.priceOf(number); err != nil {
		return "", err
	}
	return number, nil
}

// priceOf says where a number is and what a message to it costs. E.164 numbers have at most 15 digits.
func (p *Post) priceOf(number string) (country string, price int64, err error) {
	digits, plus := strings.CutPrefix(number, "+")
	if !plus || len(digits) < 8 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
		return "", 0, ErrNumber.Because("not a number with its country code")
	}
	country = countryOf(digits)
	price, allowed := p.Limits.Prices[country]
	switch {
	case country == "":
		return "", 0, ErrNumber.Because("no country that is known")
	case !allowed:
		return "", 0, ErrNumber.Because("messages to " + country + " are not allowed")
	case isPremium(digits):
		return "", 0, ErrNumber.Because("a number that costs extra")
	}
	return country, price, nil
}

// IsCountry says whether numbers of a country, by its code of ISO 3166-1, are known.
func IsCountry(code string) bool {
	return slices.ContainsFunc(callingCodes, func(c callingCode) bool { return c.country == code })
}

// Countries are those whose numbers are known.
func Countries() []string {
	var out []string
	for _, c := range callingCodes {
		out = append(out, c.country)
	}
	return out
}

type callingCode struct{ country, codes string }

// countryOf finds the country by the longest code that a number begins with; "" is none that is known:
// satellite and other networks of no country, whose messages are dear, among them.
func countryOf(digits string) string {
	codes := byCode()
	for n := min(7, len(digits)); n > 0; n-- {
		if c, ok := codes[digits[:n]]; ok {
			return c
		}
	}
	return ""
}

var byCode = sync.OnceValue(func() map[string]string {
	all := map[string]string{}
	for _, c := range callingCodes {
		for code := range strings.FieldsSeq(c.codes) {
			all[code] = c.country
		}
	}
	for area := range strings.FieldsSeq(notUS) {
		all["1"+area] = "" // in no country that can be allowed
	}
	return all
})

// notUS are area codes of the North American plan that are nobody's place: personal numbers, toll-free ones,
// services, premium rate.
const notUS = "500 521 522 523 524 525 526 527 528 529 532 533 535 538 542 543 544 545 546 547 549 550 552 553 554 556 566 558 569 577 578 588 589 " +
	"600 622 633 644 655 677 688 700 710 800 822 833 844 855 866 877 880 881 882 883 884 885 886 887 888 889 900 976"

// isPremium knows the beginnings of numbers that cost their caller more than a call, by country. Numbers of
// no country (satellites, +979) are refused by countryOf.
func isPremium(digits string) bool {
	for n := min(9, len(digits)); n > 1; n-- {
		if _, found := slices.BinarySearch(premium(), digits[:n]); found {
			return true
		}
	}
	return false
}

var premium = sync.OnceValue(func() []string {
	list := strings.Fields(premiumRanges)
	slices.Sort(list)
	return list
})

// Premium-rate, shared-cost and service ranges of national plans, as far as they are published.
const premiumRanges = `
	7803 7809 2790 3090 30801 3190 3270 3278 3290 3381 3382 3389
	34803 34806 34807 34901 34902 34905 34704 3516 3517 35181 35182 358600 358700
	35990 3690 38560 38690 38689 39144 39166 39178 39199 39892 39893 39894 39895 39899
	4184 4190 42090 421900 43810 43820 43821 43828 43900 43901 43930 43931 43939 4470 4484 4487 449
	4590 46900 46939 46944 4699 4781 4782 4870 4880 49118 49137 49180 49700 49900
	52900 55300 55500 55900 56600 56700 57900 57901 54600 60600 61190 651900 64900 661900
	81990 82060 82700 841900 852900 88620 90900 911900 9719
`

// callingCodes are the countries with the beginnings of their numbers, a longer one before a shorter.
var callingCodes = []callingCode{
	{"US", "1"},
	{"CA", "1204 1226 1236 1249 1250 1257 1263 1289 1306 1343 1354 1365 1367 1368 1382 1387 1403 1416 1418 1428 1431 1437 1438 1450 1460 1468 1474 1506 1514 1519 1548 1579 1581 1584 1587 1604 1613 1639 1647 1672 1683 1705 1709 1742 1753 1778 1780 1782 1807 1819 1825 1867 1873 1879 1902 1905 1942"},
	{"BS", "1242"}, {"BB", "1246"}, {"AI", "1264"}, {"AG", "1268"}, {"VG", "1284"}, {"VI", "1340"}, {"KY", "1345"}, {"BM", "1441"},
	{"GD", "1473"}, {"TC", "1649"}, {"JM", "1658 1876"}, {"MS", "1664"}, {"MP", "1670"}, {"GU", "1671"}, {"AS", "1684"}, {"SX", "1721"},
	{"LC", "1758"}, {"DM", "1767"}, {"VC", "1784"}, {"PR", "1787 1939"}, {"DO", "1809 1829 1849"}, {"TT", "1868"}, {"KN", "1869"},
	{"EG", "20"}, {"SS", "211"}, {"MA", "212"}, {"DZ", "213"}, {"TN", "216"}, {"LY", "218"}, {"GM", "220"}, {"SN", "221"}, {"MR", "222"},
	{"ML", "223"}, {"GN", "224"}, {"CI", "225"}, {"BF", "226"}, {"NE", "227"}, {"TG", "228"}, {"BJ", "229"}, {"MU", "230"}, {"LR", "231"},
	{"SL", "232"}, {"GH", "233"}, {"NG", "234"}, {"TD", "235"}, {"CF", "236"}, {"CM", "237"}, {"CV", "238"}, {"ST", "239"}, {"GQ", "240"},
	{"GA", "241"}, {"CG", "242"}, {"CD", "243"}, {"AO", "244"}, {"GW", "245"}, {"IO", "246"}, {"SC", "248"}, {"SD", "249"}, {"RW", "250"},
	{"ET", "251"}, {"SO", "252"}, {"DJ", "253"}, {"KE", "254"}, {"TZ", "255"}, {"UG", "256"}, {"BI", "257"}, {"MZ", "258"}, {"ZM", "260"},
	{"MG", "261"}, {"RE", "262"}, {"YT", "262269 262639"}, {"ZW", "263"}, {"NA", "264"}, {"MW", "265"}, {"LS", "266"}, {"BW", "267"},
	{"SZ", "268"}, {"KM", "269"}, {"ZA", "27"}, {"SH", "290"}, {"ER", "291"}, {"AW", "297"}, {"FO", "298"}, {"GL", "299"},
	{"GR", "30"}, {"NL", "31"}, {"BE", "32"}, {"FR", "33"}, {"ES", "34"}, {"GI", "350"}, {"PT", "351"}, {"LU", "352"}, {"IE", "353"},
	{"IS", "354"}, {"AL", "355"}, {"MT", "356"}, {"CY", "357"}, {"FI", "358"}, {"BG", "359"}, {"HU", "36"}, {"LT", "370"}, {"LV", "371"},
	{"EE", "372"}, {"MD", "373"}, {"AM", "374"}, {"BY", "375"}, {"AD", "376"}, {"MC", "377"}, {"SM", "378"}, {"UA", "380"}, {"RS", "381"},
	{"ME", "382"}, {"XK", "383"}, {"HR", "385"}, {"SI", "386"}, {"BA", "387"}, {"MK", "389"}, {"IT", "39"}, {"VA", "3906698 379"},
	{"RO", "40"}, {"CH", "41"}, {"CZ", "420"}, {"SK", "421"}, {"LI", "423"}, {"AT", "43"}, {"GB", "44"}, {"GG", "441481 447781 447839 447911"},
	{"JE", "441534 447509 447700 447797 447829 447937"}, {"IM", "441624 447524 447624 447924"}, {"DK", "45"}, {"SE", "46"}, {"NO", "47"},
	{"PL", "48"}, {"DE", "49"}, {"FK", "500"}, {"BZ", "501"}, {"GT", "502"}, {"SV", "503"}, {"HN", "504"}, {"NI", "505"}, {"CR", "506"},
	{"PA", "507"}, {"PM", "508"}, {"HT", "509"}, {"PE", "51"}, {"MX", "52"}, {"CU", "53"}, {"AR", "54"}, {"BR", "55"}, {"CL", "56"},
	{"CO", "57"}, {"VE", "58"}, {"GP", "590"}, {"BO", "591"}, {"GY", "592"}, {"EC", "593"}, {"GF", "594"}, {"PY", "595"}, {"MQ", "596"},
	{"SR", "597"}, {"UY", "598"}, {"CW", "599"}, {"BQ", "5993 5994 5997"}, {"MY", "60"}, {"AU", "61"}, {"ID", "62"}, {"PH", "63"},
	{"NZ", "64"}, {"SG", "65"}, {"TH", "66"}, {"TL", "670"}, {"NF", "6723"}, {"BN", "673"}, {"NR", "674"}, {"PG", "675"}, {"TO", "676"},
	{"SB", "677"}, {"VU", "678"}, {"FJ", "679"}, {"PW", "680"}, {"WF", "681"}, {"CK", "682"}, {"NU", "683"}, {"WS", "685"}, {"KI", "686"},
	{"NC", "687"}, {"TV", "688"}, {"PF", "689"}, {"TK", "690"}, {"FM", "691"}, {"MH", "692"}, {"RU", "7"}, {"KZ", "76 77"},
	{"JP", "81"}, {"KR", "82"}, {"VN", "84"}, {"KP", "850"}, {"HK", "852"}, {"MO", "853"}, {"KH", "855"}, {"LA", "856"}, {"CN", "86"},
	{"BD", "880"}, {"TW", "886"}, {"TR", "90"}, {"IN", "91"}, {"PK", "92"}, {"AF", "93"}, {"LK", "94"}, {"MM", "95"}, {"MV", "960"},
	{"LB", "961"}, {"JO", "962"}, {"SY", "963"}, {"IQ", "964"}, {"KW", "965"}, {"SA", "966"}, {"YE", "967"}, {"OM", "968"}, {"PS", "970"},
	{"AE", "971"}, {"IL", "972"}, {"BH", "973"}, {"QA", "974"}, {"BT", "975"}, {"MN", "976"}, {"NP", "977"}, {"IR", "98"}, {"TJ", "992"},
	{"TM", "993"}, {"AZ", "994"}, {"GE", "995"}, {"KG", "996"}, {"UZ", "998"},
}
