package serve

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-network/waybill/node/api"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
)

var le = binary.LittleEndian

// Refused is the answer to what is refused, in JSON.
type Refused struct {
	Code         string `json:"code"`    // a name of protocol section 18
	Meaning      string `json:"meaning"` // of the code
	Message      string `json:"message"` // what was wrong in particular
	RetryAfterMS int64  `json:"retry_after_ms"`
}

// statuses are those of reasons that are not the caller's mistake in general.
var statuses = map[delivery.Reason]int{
	delivery.ReasonNetwork: http.StatusConflict, delivery.ReasonNode: http.StatusConflict,
	delivery.ReasonEpoch:         http.StatusConflict,
	delivery.ReasonChallenge:     http.StatusConflict,
	delivery.ReasonSignature:     http.StatusForbidden,
	delivery.ReasonClient:        http.StatusForbidden,
	delivery.ReasonNotValid:      http.StatusForbidden,
	delivery.ReasonNotGranted:    http.StatusForbidden,
	delivery.ReasonPrivate:       http.StatusForbidden,
	delivery.ReasonNumbers:       http.StatusForbidden,
	delivery.ReasonSession:       http.StatusGone,
	delivery.ReasonSuperseded:    http.StatusGone,
	delivery.ReasonOwesClient:    http.StatusPaymentRequired,
	delivery.ReasonOwesPayer:     http.StatusPaymentRequired,
	delivery.ReasonOwesAddress:   http.StatusPaymentRequired,
	delivery.ReasonUnpaid:        http.StatusPaymentRequired,
	delivery.ReasonReserve:       http.StatusPaymentRequired,
	delivery.ReasonAllowance:     http.StatusPaymentRequired,
	delivery.ReasonOwnLimit:      http.StatusPaymentRequired,
	delivery.ReasonService:       http.StatusNotFound,
	delivery.ReasonNotFound:      http.StatusNotFound,
	delivery.ReasonDenied:        http.StatusUnavailableForLegalReasons,
	delivery.ReasonRange:         http.StatusRequestedRangeNotSatisfiable,
	delivery.ReasonRate:          http.StatusTooManyRequests,
	delivery.ReasonStreams:       http.StatusTooManyRequests,
	delivery.ReasonVolume:        http.StatusServiceUnavailable,
	delivery.ReasonShuttingDown:  http.StatusServiceUnavailable,
	delivery.ReasonFailed:        http.StatusInternalServerError,
	delivery.ReasonNotAcceptable: http.StatusNotAcceptable,
}

// delays are when to come again.
var delays = map[delivery.Reason]time.Duration{
	delivery.ReasonRate: time.Second, delivery.ReasonStreams: time.Second,
	delivery.ReasonShuttingDown: 10 * time.Second, delivery.ReasonVolume: time.Hour,
}

// reasonOf returns the reason in an error, and that it failed for one without.
func reasonOf(err error) delivery.Reason {
	var reason delivery.Reason
	switch {
	case errors.As(err, &reason) && reason.Known():
		return reason
	case errors.Is(err, errBroken):
		return delivery.ReasonSlow
	}
	return delivery.ReasonFailed
}

func retryAfter(err error) time.Duration {
	var short *shortError
	if errors.As(err, &short) {
		return short.wait
	}
	return delays[reasonOf(err)]
}

// refuse answers with a refusal.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	reason := reasonOf(err)
	s.stats.refused[reason].Add(1)
	status, ok := statuses[reason]
	if !ok {
		status = http.StatusBadRequest
	}
	if _, paid, _ := termsOf(r); reason == delivery.ReasonPrivate && !paid {
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", `Waybill realm="session"`)
	}
	after := retryAfter(err)
	if after > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(int64((after+time.Second-1)/time.Second), 10))
	}
	message := strings.TrimPrefix(err.Error(), "delivery: ")
	if reason == delivery.ReasonFailed { // which is the operator's affair
		s.cfg.Logger.Warn("content was not delivered", "path", r.URL.Path, "err", err)
		message = reason.Meaning()
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Vary", "Accept")
	writeJSON(w, status, Refused{reason.String(), reason.Meaning(), message, after.Milliseconds()})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // nobody is there to be told
}

// takesNone refuses a request with a body.
func (s *Server) takesNone(w http.ResponseWriter, r *http.Request) bool {
	if r.ContentLength > 0 {
		s.refuse(w, r, delivery.Refuse(delivery.ReasonMalformed, "a request with a body"))
		return false
	}
	return true
}

func (s *Server) byRoot(w http.ResponseWriter, r *http.Request) {
	var root rollup.Hash
	if err := root.UnmarshalText([]byte(r.PathValue("root"))); err != nil {
		s.refuse(w, r, delivery.Refuse(delivery.ReasonMalformed, "%w", err))
		return
	}
	s.deliver(w, r, Name{Root: root, Type: "application/octet-stream",
		MaxAge: 365 * 24 * time.Hour})
}

// manifest answers with the manifest of a service, which its reader verifies.
func (s *Server) manifest(w http.ResponseWriter, r *http.Request) {
	service, err := serviceOf(r)
	var b []byte
	switch {
	case err != nil:
	case r.URL.Query().Has("path") && s.cfg.Showing != nil:
		b, err = s.cfg.Showing(service, r.URL.Query().Get("path"))
	case s.cfg.Manifest == nil:
		err = delivery.ReasonNotFound
	default:
		b, err = s.cfg.Manifest(service)
	}
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Cache-Control", "no-cache")
	_, _ = w.Write(b) // or nobody is there
}

func serviceOf(r *http.Request) (uint32, error) {
	service, err := strconv.ParseUint(r.PathValue("service"), 10, 32)
	if err != nil {
		return 0, delivery.Refuse(delivery.ReasonMalformed, "a service is a number")
	}
	return uint32(service), nil
}

func (s *Server) byPath(w http.ResponseWriter, r *http.Request) {
	service, err := serviceOf(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	path := "/" + r.PathValue("path") // unescaped
	name, err := s.cfg.Content.Resolve(r.Context(), service, path)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.deliver(w, r, name)
}

func (s *Server) deliver(w http.ResponseWriter, r *http.Request, x Name) {
	if !s.takesNone(w, r) {
		return
	}
	t, paid, err := termsOf(r)
	switch {
	case err != nil:
		s.refuse(w, r, err)
	case paid && r.Method == http.MethodGet:
		s.paid(w, r, t, func(c *Call) error { return s.stream(c, x) })
	default:
		s.plain(w, r, x)
	}
}

// crossOrigin lets pages of any origin call, and hands calls of the client port's API over.
func (s *Server) crossOrigin(content, api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers",
			"Accept-Ranges, Content-Length, Content-Range, ETag, Retry-After")
		h.Set("X-Content-Type-Options", "nosniff")
		if s.quic != nil && r.ProtoMajor < 3 {
			s.quic.announce(h)
		}
		switch {
		case r.Method == http.MethodOptions:
			h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
			h.Set("Access-Control-Allow-Headers", allowedHeaders)
			h.Set("Access-Control-Max-Age", "7200")
			w.WriteHeader(http.StatusNoContent)
		case api != nil && strings.HasPrefix(r.URL.Path, "/waybill.v1."):
			api.ServeHTTP(w, r)
		default:
			content.ServeHTTP(w, r)
		}
	})
}

const allowedHeaders = "Accept, Content-Type, Connect-Protocol-Version, Connect-Timeout-Ms, " +
	"If-None-Match, Range, " + api.SessionHeader
