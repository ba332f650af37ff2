package workload

import (
	"encoding/json"
	"strconv"
)

// parseCaddy reads a line of Caddy's access log.
func parseCaddy(line []byte, _ bool) (Delivery, error) {
	var entry struct {
		Message string `json:"msg"`
		Request *struct {
			ClientIP   string `json:"client_ip"`
			RemoteIP   string `json:"remote_ip"`
			RemoteAddr string `json:"remote_addr"` // with a port: before version 2.5
			URI        string `json:"uri"`
		} `json:"request"`
		Status *int    `json:"status"`
		Size   *uint64 `json:"size"`
	}
	if err := json.Unmarshal(line, &entry); err != nil {
		return Delivery{}, ReasonJSON
	}
	if entry.Request == nil || entry.Status == nil || entry.Size == nil ||
		entry.Message != "handled request" {
		return Delivery{}, ReasonJSONRequest
	}
	address, ok := firstAddress(entry.Request.ClientIP, entry.Request.RemoteIP,
		entry.Request.RemoteAddr)
	if !ok {
		return Delivery{}, ReasonAddress
	}
	if *entry.Status < 100 || *entry.Status > 599 {
		return Delivery{}, ReasonStatus
	}
	return delivery(address, targetPath(entry.Request.URI), *entry.Status, *entry.Size, line), nil
}

// parseNginxJSON reads a line that an operator's log_format made of nginx's variables, under their
// own names.
func parseNginxJSON(line []byte, _ bool) (Delivery, error) {
	var entry struct {
		RemoteAddr    string  `json:"remote_addr"`
		Request       *string `json:"request"`
		RequestURI    *string `json:"request_uri"`
		Status        text    `json:"status"`
		BodyBytesSent text    `json:"body_bytes_sent"`
		BytesSent     text    `json:"bytes_sent"`
	}
	if err := json.Unmarshal(line, &entry); err != nil {
		return Delivery{}, ReasonJSON
	}
	sent := entry.BodyBytesSent
	if sent == "" {
		sent = entry.BytesSent
	}
	if entry.Request == nil && entry.RequestURI == nil || entry.Status == "" || sent == "" {
		return Delivery{}, ReasonJSONRequest
	}
	address, ok := canonical(entry.RemoteAddr)
	if !ok {
		return Delivery{}, ReasonAddress
	}
	status, err := strconv.ParseUint(string(entry.Status), 10, 16)
	if err != nil || status < 100 || status > 599 {
		return Delivery{}, ReasonStatus
	}
	size, err := parseSize(string(sent))
	if err != nil {
		return Delivery{}, err
	}
	var p site
	if entry.Request != nil {
		p = requestPath(*entry.Request)
	} else {
		p = targetPath(*entry.RequestURI)
	}
	return delivery(address, p, int(status), size, line), nil
}

// text is a JSON string or number, as text.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*t = text(s)
		return nil
	}
	var n json.Number
	err := json.Unmarshal(b, &n)
	*t = text(n)
	return err
}

func firstAddress(hosts ...string) (string, bool) {
	for _, h := range hosts {
		if h != "" {
			return canonical(h)
		}
	}
	return "", false
}
