package workload

import (
	"bytes"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// A record's time, and the quote that opens its request. A user's name may hold anything, blanks,
// brackets and quotes included, so the time is what the fields before and behind are found by.
var recordTime = regexp.MustCompile(
	`\[\d{2}/[A-Z][a-z]{2}/\d{4}:\d{2}:\d{2}:\d{2}(?:\.\d+)? [+-]\d{4}\] "`)

func parseCommon(line []byte, whole bool) (Delivery, error) {
	d, rest, err := parseRecord(line, line, whole)
	if err == nil && len(rest) > 0 {
		err = ReasonTrailing
	}
	return d, err
}

func parseCombined(line []byte, whole bool) (Delivery, error) {
	d, rest, err := parseRecord(line, line, whole)
	if err == nil {
		err = checkQuoted(rest)
	}
	return d, err
}

func parseVhostCombined(line []byte, whole bool) (Delivery, error) {
	host, record, _ := bytes.Cut(line, []byte(" "))
	if _, isAddress := canonical(string(host)); isAddress || !virtualHost.Match(host) {
		return Delivery{}, ReasonVirtualHost
	}
	d, rest, err := parseRecord(record, line, whole)
	if err == nil {
		err = checkQuoted(rest)
	}
	return d, err
}

// Names of hosts, or "*" and "_" for one that has no name, with or without a port.
var virtualHost = regexp.MustCompile(`^([A-Za-z0-9._*-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?$`)

// parseRecord reads the fields of Common Log Format from a record, and returns what follows them.
// line is the whole line that the record stands in.
func parseRecord(record, line []byte, whole bool) (d Delivery, rest []byte, err error) {
	at := recordTime.FindAllIndex(record, 2)
	if len(at) == 0 {
		if _, _, err := parseHead(record); err == ReasonAddress {
			return d, nil, err
		}
		return d, nil, ReasonTime
	}
	if len(at) > 1 {
		return d, nil, ReasonTwoRecords
	}
	address, _, err := parseHead(record[:at[0][0]])
	if err != nil {
		return d, nil, err
	}
	request, rest, ok := cutQuoted(record[at[0][1]:])
	if !ok {
		return d, nil, ReasonRequest
	}
	status, size, rest, err := parseNumbers(rest, whole)
	if err != nil {
		return d, nil, err
	}
	return delivery(address, requestPath(string(request)), status, size, line), rest, nil
}

// parseHead reads what stands before the time: an address, or several that proxies have listed, of
// which the first is the client's; then the identity, and a user, whose name may hold blanks.
func parseHead(head []byte) (address string, user string, err error) {
	hosts, after, _ := strings.Cut(string(head), " ")
	for strings.HasSuffix(hosts, ",") {
		var next string
		next, after, _ = strings.Cut(after, " ")
		hosts += next
		if next == "" {
			return "", "", ReasonAddress
		}
	}
	first, _, _ := strings.Cut(hosts, ",")
	address, ok := canonical(first)
	if !ok {
		return "", "", ReasonAddress
	}
	ident, user, ok := strings.Cut(after, " ")
	if !ok || ident == "" || !strings.HasSuffix(user, " ") {
		return "", "", ReasonIdentity
	}
	return address, strings.TrimSuffix(user, " "), nil
}

// parseNumbers reads status and size.
func parseNumbers(b []byte, whole bool) (status int, size uint64, rest []byte, err error) {
	if len(b) < 4 || b[0] != ' ' || len(b) > 4 && b[4] != ' ' {
		return 0, 0, nil, ReasonStatus
	}
	code, err := strconv.ParseUint(string(b[1:4]), 10, 16)
	if err != nil || code < 100 || code > 599 {
		return 0, 0, nil, ReasonStatus
	}
	if len(b) == 4 {
		return 0, 0, nil, ReasonSize
	}
	field, rest, more := bytes.Cut(b[5:], []byte(" "))
	if size, err = parseSize(string(field)); err != nil {
		return 0, 0, nil, err
	}
	switch {
	case !more && !whole:
		return 0, 0, nil, ReasonCutSize
	case more && (len(rest) == 0 || rest[0] != '"'):
		return 0, 0, nil, ReasonAfterSize
	}
	return int(code), size, rest, nil
}

func parseSize(s string) (uint64, error) {
	if s == "-" {
		return 0, nil
	}
	size, err := strconv.ParseUint(s, 10, 63)
	if err != nil || s[0] == '+' {
		return 0, ReasonSize
	}
	return size, nil
}

// checkQuoted looks at referer and agent. The line may end within them, since loggers cut long
// lines; but what goes on right behind a closing quote is another record, or was not escaped.
func checkQuoted(b []byte) error {
	for i := 0; i < 2 && len(b) > 0 && b[0] == '"'; i++ {
		_, after, closed := cutQuoted(b[1:])
		if !closed || len(after) == 0 {
			return nil
		}
		if after[0] != ' ' {
			return ReasonQuotes
		}
		b = after[1:]
	}
	return nil
}

// cutQuoted splits after the next quote that no backslash escapes.
func cutQuoted(b []byte) (inside, after []byte, ok bool) {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return b[:i], b[i+1:], true
		}
	}
	return nil, nil, false
}

// canonical is the one spelling of an address, which may stand in brackets and with a port.
func canonical(host string) (string, bool) {
	a, err := netip.ParseAddr(host)
	if err != nil && strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		a, err = netip.ParseAddr(host[1 : len(host)-1])
	}
	if err != nil {
		var withPort netip.AddrPort
		withPort, err = netip.ParseAddrPort(host)
		a = withPort.Addr()
	}
	if err != nil || !zone.MatchString(a.Zone()) {
		return "", false
	}
	return a.Unmap().String(), true
}

// Names of network interfaces; netip would take anything.
var zone = regexp.MustCompile(`^[A-Za-z0-9._-]{0,15}$`)
