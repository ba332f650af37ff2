package credit

import "net/netip"

// client returns a client, whose last use is now.
func (b *Book) client(index uint64, payer uint32) *client {
	c := b.clients[index]
	if c != nil {
		b.order.MoveToBack(c.used)
		return c
	}
	if len(b.clients) >= b.params.Clients {
		b.forget()
	}
	c = &client{index: index, payer: payer}
	c.used = b.order.PushBack(c)
	b.clients[index] = c
	return c
}

// forget forgets the client without a session that was heard of longest ago, of the first few one
// that owes nothing if there is one. What it owes stays with its payer.
func (b *Book) forget() {
	const look = 64
	var victim *client
	seen := 0
	for at := b.order.Front(); at != nil && seen < look; at = at.Next() {
		c := at.Value.(*client)
		if c.session != nil {
			continue
		}
		seen++
		if victim == nil || c.owed == 0 {
			victim = c
		}
		if c.owed == 0 {
			break
		}
	}
	if victim == nil {
		return // all have sessions, of which there are not that many
	}
	for _, d := range victim.debts {
		b.lower(b.address(d.address), d.bytes)
	}
	b.totals.Owed -= victim.owed
	b.totals.WrittenOff += victim.owed
	b.order.Remove(victim.used)
	delete(b.clients, victim.index)
}

// payer returns a payer's line. There are as many as accounts of payers.
func (b *Book) payer(index uint32) *payer {
	l := b.payers[index]
	if l == nil {
		l = new(payer)
		b.payers[index] = l
	}
	return l
}

// address returns an address's line. When there are too many, those that owe nothing are forgotten.
func (b *Book) address(prefix netip.Prefix) *line {
	l := b.addresses[prefix]
	if l != nil {
		return l
	}
	if len(b.addresses) >= b.params.Clients {
		for other, line := range b.addresses { // order-free
			if line.owed == 0 {
				delete(b.addresses, other)
			}
		}
	}
	l = new(line)
	if len(b.addresses) < 2*b.params.Clients {
		b.addresses[prefix] = l
	}
	return l
}
