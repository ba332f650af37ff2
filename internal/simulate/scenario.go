package main

// rule is a rule of the rotation, or one that was considered in its place.
type rule int

const (
	asBuilt      rule = iota
	stayForEver       // a seat whose winner is not ready stays with its holder until one is
	moveAtOnce        // a winner takes its seat, ready or not
	vacatedFirst      // vacated seats are handed over before due ones
)

// scenario is an adversary, and the rules against it.
type scenario struct {
	Name  string
	Why   string  // what it shows
	Share float64 // of the stake that is the adversary's
	Seats int
	Rule  rule

	// What the adversary can do in each epoch, at no price.
	Silence int // winners kept from saying that they are ready, those first that would replace it
	Cut     int // honest members cut off: nobody finds them healthy
	Redraws int // seeds from which it may choose the best, beside the first

	// What happens to everybody.
	Fail  float64 // share of nodes offline for an epoch, by chance
	Front float64 // share of honest nodes that answer probes and do not vote
}

const (
	everybody  = 1 << 30
	termEpochs = 4
	nodeCount  = 1000
)

// scenarios are the attacks and the alternatives, in the order of the report.
func scenarios() (list []scenario) {
	for _, seats := range []int{64, 128} {
		list = append(list, attacks(seats)...)
	}
	return append(list, alternatives()...)
}

func attacks(seats int) []scenario {
	all := func(share float64) scenario {
		return scenario{Name: "all at once", Share: share, Seats: seats, Silence: 16, Cut: 16, Redraws: 1,
			Why: "16 honest members cut off, 16 winners silenced and one more seed, in every epoch."}
	}
	return []scenario{
		{Name: "no attack", Share: 0.25, Seats: seats,
			Why: "The lottery alone: the mean is the share of the stake."},
		{Name: "one more seed", Share: 0.25, Seats: seats, Redraws: 1,
			Why: "Who withholds its reveal sees one more seed, and pays for it with a node."},
		{Name: "eight more seeds", Share: 0.25, Seats: seats, Redraws: 8,
			Why: "Far more than rounds allow; it stays short of two thirds."},
		{Name: "every winner silenced", Share: 0.25, Seats: seats, Silence: everybody,
			Why: "Nobody honest can say that it is ready: a seat stays for one epoch, then it moves."},
		{Name: "42 members cut off", Share: 0.25, Seats: seats, Cut: 42,
			Why: "Due seats come first, so drawing honest seats anew gains nothing."},
		all(0.20), all(0.25), all(0.30),
		{Name: "nodes fail", Share: 0, Seats: seats, Fail: 0.05, Front: 0.2,
			Why: "5 % are offline for an epoch by chance, a fifth answer probes and never vote."},
	}
}

// alternatives are the rules that were dropped, each against the attack that decided it.
func alternatives() []scenario {
	return []scenario{
		{Name: "silenced, a seat stays for ever", Share: 0.20, Seats: 128, Rule: stayForEver,
			Silence: everybody, Why: "Dropped: silencing winners freezes the adversary's seats."},
		{Name: "silenced, a seat moves at once", Share: 0.20, Seats: 128, Rule: moveAtOnce,
			Silence: everybody, Why: "Dropped: unbiased, but half of the seats may be dead in two epochs."},
		{Name: "cut off, due seats first", Share: 0.20, Seats: 128, Cut: 42,
			Why: "The rule, beside the one that follows."},
		{Name: "cut off, vacated seats first", Share: 0.20, Seats: 128, Rule: vacatedFirst, Cut: 42,
			Why: "Dropped: honest seats are drawn again and again, the adversary's never."},
	}
}
