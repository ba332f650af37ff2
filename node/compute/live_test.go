package compute

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/waybill-network/waybill/client"
	"github.com/waybill-network/waybill/kernels/blake3"
	"github.com/waybill-network/waybill/node/compute/machine"
	"github.com/waybill-network/waybill/rollup"
	"github.com/waybill-network/waybill/rollup/delivery"
	"github.com/waybill-network/waybill/rollup/meter"
)

// checks returns what runs a module of the shelf again.
func (w *world) checks(t *testing.T) func(context.Context, *client.Run) (client.RunOutcome, error) {
	m, err := machine.New(machine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return func(ctx context.Context, r *client.Run) (o client.RunOutcome, err error) {
		p, err := m.Load(ctx, r.Module, w.files[r.Module])
		if err != nil {
			return o, err
		}
		defer p.Release()
		x, err := p.Run(ctx, machine.Run{Input: r.Input, Args: r.Args, Fuel: r.Fuel})
		if err != nil {
			return o, err
		}
		return client.RunOutcome{Outcome: x.Outcome, Exit: x.Exit, Fuel: x.Fuel, Output: x.Output},
			nil
	}
}

// TestRun: a run's output comes, the client finds the same by itself, and what it pays is what the
// node has on its books, in one account with content.
func TestRun(t *testing.T) {
	w := start(t, Config{})
	module := w.add(echo())
	f := w.fetcher(t, 0)
	run := client.Run{Module: module, Input: []byte("hello"), Fuel: 1 << 24, Check: w.checks(t)}
	r, err := f.Run(t.Context(), run)
	if err != nil {
		t.Fatal(err)
	}
	if string(r.Output) != "hello" || r.Outcome != delivery.OutcomeExited || r.Exit != 0 {
		t.Errorf("%+v", r)
	}
	if err := r.Receipt.Verify(); err != nil {
		t.Error(err)
	}
	again, err := f.Run(t.Context(), run)
	if err != nil || again.Fuel != r.Fuel {
		t.Errorf("%+v, %v", again, err)
	}
	content, err := f.Open(t.Context(), module)
	if err != nil {
		t.Fatal(err)
	}
	bytes, err := io.ReadAll(content)
	if err = errors.Join(err, content.Close(), f.Close()); err != nil ||
		rollup.Hash(blake3.Sum256(bytes)) != module {
		t.Fatal(err)
	}
	total := 2*delivery.Units(r.Fuel) + uint64(len(bytes))
	s := f.Stats()
	if s.Charged != total || s.Signed != total || s.Acks > 3 {
		t.Errorf("of %d units: %+v", total, s)
	}
	if c := w.server.Stats().Credit; c.Paid != total || c.Outstanding != 0 || c.Owed != 0 ||
		c.Beyond != 0 {
		t.Errorf("of %d units the node: %+v", total, c)
	}
	if s := w.service.Stats(); s.Runs != 2 || s.Compiled != 1 || s.Open != 0 ||
		s.Outcomes[delivery.OutcomeExited] != 2 {
		t.Errorf("%+v", s)
	}
}

// TestLongRun: a run of more than a window is paid as it goes, and what is outstanding is never
// above the window.
func TestLongRun(t *testing.T) {
	w := start(t, Config{})
	module := w.add(spin())
	f := w.fetcher(t, 0)
	const fuel = 1 << 30 // a million units, four times the first window
	r, err := f.Run(t.Context(), client.Run{Module: module, Fuel: fuel})
	if err != nil {
		t.Fatal(err)
	}
	if r.Outcome != delivery.OutcomeFuel || r.Fuel != fuel {
		t.Errorf("%+v", r)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if s := f.Stats(); s.Charged != fuel/delivery.FuelOfUnit || s.Acks < 3 {
		t.Errorf("%+v", s)
	}
	if c := w.server.Stats().Credit; c.Paid != fuel/delivery.FuelOfUnit || c.Outstanding != 0 ||
		c.Beyond != 0 {
		t.Errorf("the node: %+v", c)
	}
}

// TestRefused: what cannot be run costs nothing.
func TestRefused(t *testing.T) {
	w := start(t, Config{MaxFuel: 1 << 25, MaxInput: 1 << 10})
	f := w.fetcher(t, 0)
	good := w.add(echo())
	large := w.add(make([]byte, meter.MaxModule+1))
	for name, c := range map[string]struct {
		run  client.Run
		want delivery.Reason
	}{
		"no module":           {client.Run{Module: w.add([]byte("text"))}, delivery.ReasonModule},
		"nothing":             {client.Run{Module: w.add(nil)}, delivery.ReasonModule},
		"a large one":         {client.Run{Module: large}, delivery.ReasonModule},
		"none that is here":   {client.Run{Module: rollup.Hash{1}}, delivery.ReasonNotFound},
		"too much fuel":       {client.Run{Module: good, Fuel: 1<<25 + 1}, delivery.ReasonFuel},
		"less than its start": {client.Run{Module: good, Fuel: 100}, delivery.ReasonFuel},
	} {
		if c.run.Fuel == 0 {
			c.run.Fuel = 1 << 20
		}
		_, err := f.Run(t.Context(), c.run)
		var e *client.FetchError
		if !errors.Is(err, c.want) || !errors.As(err, &e) || e.Phase != "request" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := f.Run(t.Context(), client.Run{Module: good, Fuel: 1 << 20,
		Input: make([]byte, 1<<10+1)}); err == nil {
		t.Error("a large input")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	w.refusesPlainly(t, good)
	if s := f.Stats(); s.Signed != 0 {
		t.Errorf("%+v", s)
	}
	if c := w.server.Stats().Credit; c.Paid != 0 || c.Owed != 0 || c.Outstanding != 0 {
		t.Errorf("the node: %+v", c)
	}
}

// refusesPlainly asks without a session, for a head alone, and with what there is not.
func (w *world) refusesPlainly(t *testing.T, module rollup.Hash) {
	t.Helper()
	session := "application/vnd.waybill.stream;service=0;session=" + strings.Repeat("0a", 16)
	for _, c := range []struct {
		accept, query string
		status        int
	}{
		{"", "fuel=1", http.StatusNotAcceptable},
		{session + ";head", "fuel=1", http.StatusBadRequest},
		{session, "fuel=1", http.StatusGone},
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
			w.url+"/run/"+module.String()+"?"+c.query, strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", c.accept)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != c.status {
			t.Errorf("%q: %s", c.accept, response.Status)
		}
	}
}

// TestStopped: who leaves in the middle pays what was metered, and the place is free again.
func TestStopped(t *testing.T) {
	w := start(t, Config{Runs: 1})
	module := w.add(spin())
	f := w.fetcher(t, 0)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := f.Run(ctx, client.Run{Module: module, Fuel: 1 << 34}); !errors.Is(err,
		context.DeadlineExceeded) {
		t.Fatal(err)
	}
	r, err := f.Run(t.Context(), client.Run{Module: w.add(echo()), Input: []byte("next"),
		Fuel: 1 << 24})
	if err != nil || string(r.Output) != "next" {
		t.Fatal(r, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	c := w.server.Stats().Credit
	if c.Sent != c.Paid+c.Returned || c.Owed != 0 || c.Outstanding != 0 || c.Beyond != 0 ||
		c.Paid == 0 {
		t.Errorf("%+v", c)
	}
}

// TestTooLong: a run ends at the node's time, and is paid as far as it was metered.
func TestTooLong(t *testing.T) {
	w := start(t, Config{Time: 200 * time.Millisecond})
	f := w.fetcher(t, 0)
	_, err := f.Run(t.Context(), client.Run{Module: w.add(spin()), Fuel: 1 << 34})
	if !errors.Is(err, delivery.ReasonFuel) {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if c := w.server.Stats().Credit; c.Outstanding != 0 || c.Owed != 0 || c.Beyond != 0 ||
		c.Paid == 0 {
		t.Errorf("%+v", c)
	}
}

// TestLies: a node that signs another result is found out, the rest of its bill is not paid, and
// its receipt shows it to anybody who runs the module.
func TestLies(t *testing.T) {
	w := start(t, Config{})
	f := w.fetcher(t, 0)
	module := w.add(echo())
	check := w.checks(t)
	lie := errors.New("not looked at")
	r, err := f.Run(t.Context(), client.Run{Module: module, Input: []byte("hello"), Fuel: 1 << 24,
		Check: func(ctx context.Context, r *client.Run) (client.RunOutcome, error) {
			o, err := check(ctx, r)
			o.Fuel-- // the node has said one more
			lie = err
			return o, err
		}})
	if lie != nil || !errors.Is(err, client.ErrLied) || r == nil {
		t.Fatal(lie, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if s := f.Stats(); s.Signed != 0 {
		t.Errorf("it was paid: %+v", s)
	}
	is, err := check(t.Context(), &client.Run{Module: module, Input: []byte("hello"),
		Fuel: 1 << 24})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Receipt.Judge(&is); err != nil {
		t.Errorf("an honest receipt: %v", err)
	}
	for name, change := range map[string]func(*client.RunOutcome){
		"outcome": func(o *client.RunOutcome) { o.Outcome = delivery.OutcomeTrapped },
		"exit":    func(o *client.RunOutcome) { o.Exit++ },
		"fuel":    func(o *client.RunOutcome) { o.Fuel++ },
		"length":  func(o *client.RunOutcome) { o.Output = append(o.Output, 0) },
		"output":  func(o *client.RunOutcome) { o.Output[0]++ },
	} {
		o := is
		o.Output = append([]byte(nil), is.Output...)
		change(&o)
		if err := r.Receipt.Judge(&o); !errors.Is(err, client.ErrLied) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*client.RunReceipt){
		"network": func(r *client.RunReceipt) { r.Network[0]++ },
		"key":     func(r *client.RunReceipt) { r.NodeKey[0]++ },
		"input":   func(r *client.RunReceipt) { r.Start.Word.Input[0]++ },
		"fuel":    func(r *client.RunReceipt) { r.Result.Word.Fuel++ },
	} {
		c := r.Receipt
		change(&c)
		if err := c.Verify(); err == nil {
			t.Errorf("a receipt with another %s", name)
		}
	}
}
