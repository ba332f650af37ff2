package ledger

// execute does what a transaction says, which judge found possible. It cannot fail.
func (s *State) execute(tx *Tx, r *Result) {
	var account uint32
	switch kinds[tx.Kind].sender {
	case senderTreasury:
		s.deposits++
	case senderAccount:
		account, _ = s.accountByKey(tx.Signed.Sender)
		s.accounts.edit(s.gen, account).nonce++
		s.touch(indexKey(prefixAccount, account))
	case senderNone:
	}
	tx.Body.execute(s, account, r)
}
