package workload

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestPublishedCases reads a folder of small logs that other readers get wrong: WAYBILL_CASES names
// it.
func TestPublishedCases(t *testing.T) {
	dir := os.Getenv("WAYBILL_CASES")
	if dir == "" {
		if os.Getenv("REQUIRE_CASES") != "" {
			t.Fatal("WAYBILL_CASES names no folder")
		}
		t.Skip("WAYBILL_CASES names no folder")
	}
	const three = "3 requests, 600 units, blog 2 shop 1"
	for _, c := range []struct{ file, want string }{
		{"01-pipe.sh", "1500 requests, 150000 units, blog 1500"},
		{"02-vhost-combined.log", three},
		{"03a-kubectl-timestamps.log", "line 1: a time before the record"},
		{"04-syslog.log", "line 1: a header of syslog"},
		{"05b-docker-json-file.log", "line 1: JSON of Docker"},
		{"06-xff-list.log",
			"3 requests, 600 units, blog 3; 2 no address where the client's should be from line 4"},
		{"07b-crlf.log", three},
		{"08a-torn-no-newline.log",
			"1 requests, 300 units, blog 1; 1 two records in one line from line 1"},
		{"08c-torn-in-size.log",
			"1 requests, 300 units, blog 1; 1 two records in one line from line 1"},
		{"09a-apache-D-before-b.log",
			"0 requests, 0 units; 3 more than one number after the status from line 1"},
		{"09b-apache-combinedio.log", three},
		{"10-long-line.sh", "2 requests, 400 units, blog 2; 1 longer than 65536 bytes from line 2"},
		{"11b-nul-run.sh", three},
		{"13-utf16le.log", "UTF-16"},
		{"15-unreadable-lines.log", "2 requests, 300 units, shop 1 blog 1; 2 the size"},
		{"16-truncated.log.gz", "line 3: the gzip file is truncated"},
		{"17b-two-members.log.gz", three},
		{"17d-empty-gz.log.gz", "0 requests, 0 units"},
		{"20-escapes.log", "3 requests, 600 units"},
		{"21-forged-row.log", "2 requests, 300 units, shop 1 shop\\x0a"},
		{"23-targets.log", "14 requests, 105 units, blog 9 root 4 my shop 1"},
		{"24-no-http.log", "5 requests, 391 units, root 4 blog 1"},
		{"25-addresses.log", "7 requests, 28 units, blog 7"},
		{"30-caddy.json.log", "3 requests, 400 units, "},
		{"31-nginx-escape-json.log", "3 requests, 457 units, "},
		{"32-nginx-request-time.log", three},
		{"33-iis-w3c.log", "line 1: W3C extended log (IIS)"},
		{"35-cloudfront.gz", "line 1: CloudFront"},
		{"37-s3-access.log", "line 1: server access log of S3"},
		{"38-traefik-clf.log", three},
		{"39-ingress-nginx.log", three},
		{"40-squid-native.log", "line 1: native log of Squid"},
		{"51-column-before-request.log", "0 requests, 0 units; 2 no time in brackets, followed by"},
		{"53-users.log", "3 requests, 600 units, blog 3"},
		{"55-message-repeated.log", "line 1: a header of syslog"},
		{"56-backslashes.log", "4 requests, 1000 units, blog 2 s 1 blog\\x5Cx 1"},
	} {
		path := filepath.Join(dir, c.file)
		if strings.HasSuffix(c.file, ".sh") {
			out, err := exec.Command("sh", path).Output()
			if err != nil {
				t.Fatal(err)
			}
			path = write(t, out)
		}
		s, err := survey(t, path, FormatAuto)
		if got := summary(s, err); !strings.Contains(got, c.want) {
			t.Errorf("%s:\n got %s\nwant %s", c.file, got, c.want)
		}
	}
}

// summary puts a survey, or why there is none, into a line.
func summary(s *Survey, err error) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d requests, %d units", s.Requests, s.Units)
	sep := ", "
	for _, p := range s.ByPayer {
		fmt.Fprintf(&b, "%s%s %d", sep, p.Payer, p.Requests)
		sep = " "
	}
	for _, r := range s.Refused {
		fmt.Fprintf(&b, "; %d %s from line %d", r.Count, r.Reason, r.FirstLine)
	}
	if err != nil {
		fmt.Fprintf(&b, "; %v", err)
	}
	return b.String()
}
