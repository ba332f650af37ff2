package remote

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/waybill-network/waybill/node/content"
	"github.com/waybill-network/waybill/rollup/manifest"
)

// refused is a refusal on its way.
type refused struct {
	Reason  string `json:"reason"` // of package content; empty for others
	Message string `json:"message"`
}

// failedTrailer has the refusal of a content that ended before its time.
const failedTrailer = "Waybill-Refused"

// maxManifest bounds the manifest that is taken.
const maxManifest = 256 << 20

// Handler answers for a store. See the head of the package.
func Handler(s Store) http.Handler {
	mux := http.NewServeMux()
	answer := func(pattern string, do func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			v, err := do(r)
			if err != nil {
				reply(w, http.StatusUnprocessableEntity, refusal(err))
				return
			}
			reply(w, http.StatusOK, v)
		})
	}
	answer("GET /{$}", func(r *http.Request) (any, error) { return s.List(r.Context()) })
	answer("POST /{$}", func(r *http.Request) (any, error) {
		payers, err := payersOf(r)
		if err != nil {
			return nil, err
		}
		how := Adding{content.Placing{Size: r.ContentLength, Payers: payers},
			r.URL.Query().Has("pin")}
		if r.URL.Query().Has("root") {
			root, err := content.ParseRoot(r.URL.Query().Get("root"))
			if err != nil {
				return nil, err
			}
			how.Root = &root
		}
		return s.Add(r.Context(), r.Body, how)
	})
	answer("POST /{root}/{verb}", func(r *http.Request) (any, error) {
		root, err := content.ParseRoot(r.PathValue("root"))
		if err != nil {
			return nil, err
		}
		return struct{}{}, s.Do(r.Context(), Verb(r.PathValue("verb")), root)
	})
	answer("POST /{root}/private", func(r *http.Request) (any, error) {
		root, err := content.ParseRoot(r.PathValue("root"))
		if err != nil {
			return nil, err
		}
		payers, err := payersOf(r)
		if err != nil {
			return nil, err
		}
		return struct{}{}, s.SetPrivate(r.Context(), root, payers)
	})
	answer("POST /manifest", func(r *http.Request) (any, error) {
		b, err := io.ReadAll(io.LimitReader(r.Body, maxManifest+1))
		if err != nil {
			return nil, err
		}
		m, err := manifest.Parse(b)
		if err != nil {
			return nil, err
		}
		return s.SetManifest(r.Context(), m)
	})
	answer("POST /scan", func(r *http.Request) (any, error) { return s.Scan(r.Context()) })
	mux.HandleFunc("GET /{root}", func(w http.ResponseWriter, r *http.Request) {
		root, err := content.ParseRoot(r.PathValue("root"))
		out := &begun{Writer: w}
		if err == nil {
			_, err = s.CopyTo(r.Context(), root, out)
		}
		if err != nil && !out.any {
			reply(w, http.StatusUnprocessableEntity, refusal(err))
		} else if err != nil {
			b, _ := json.Marshal(refusal(err)) // two texts
			w.Header().Set(http.TrailerPrefix+failedTrailer, string(b))
		}
	})
	return mux
}

// payersOf reads the payers that a request names; nil: none.
func payersOf(r *http.Request) ([]uint32, error) {
	if !r.URL.Query().Has("payers") {
		return nil, nil
	}
	return content.ParsePayers(r.URL.Query().Get("payers"))
}

// begun notes whether anything was written.
type begun struct {
	io.Writer
	any bool
}

func (b *begun) Write(p []byte) (int, error) {
	b.any = true
	return b.Writer.Write(p)
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // nobody is there to be told
}

func refusal(err error) refused {
	r := refused{Message: err.Error()}
	var reason content.Reason
	if errors.As(err, &reason) {
		r.Reason = reason.String()
	}
	return r
}

// Error is a refusal of a running node. It wraps the reason.
type Error struct {
	Reason  content.Reason // 0: none of package content
	Message string
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns the reason.
func (e *Error) Unwrap() error {
	if e.Reason == 0 {
		return nil
	}
	return e.Reason
}

func (r refused) error() error {
	for _, reason := range content.Reasons() {
		if reason.String() == r.Reason {
			return &Error{reason, r.Message}
		}
	}
	return &Error{Message: r.Message}
}
