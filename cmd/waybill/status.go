package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/waybill-network/waybill/node/ingest"
	"github.com/waybill-network/waybill/node/rpc"
)

func newStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what a node says about itself, its windows and the chain",
		Args:  noArgs,
	}
	connect := nodeFlag(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := connect()
		if err != nil {
			return err
		}
		defer c.Close()
		s, err := ingest.Call(cmd.Context(), c.Ledger().GetStatus, &rpc.GetStatusRequest{})
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		if *asJSON {
			return printJSON(out, s.Detail.AsMap())
		}
		now := time.Now()
		pairs(out,
			"node", fmt.Sprintf("%d, version %s", s.Node, s.Version),
			"network", s.Network,
			"chain", fmt.Sprintf("block %d, %v ago, application hash %s", s.Height, now.Sub(time.UnixMilli(s.BlockTimeMs)).Round(time.Millisecond), s.AppHash),
			"epoch", fmt.Sprintf("%d, ends in %v", s.Epoch, time.UnixMilli(s.EpochEndsAtMs).Sub(now).Round(time.Second)),
			"open window", fmt.Sprintf("%d of epoch %d", s.OpenWindow, s.OpenEpoch),
			"registry", fmt.Sprintf("%d nodes, %d services, %d clients", s.Nodes, s.Services, s.Clients),
		)
		recent, err := ingest.Call(cmd.Context(), c.Ledger().ListRollups, &rpc.ListRollupsRequest{Count: 10})
		if err != nil || len(recent.Rollups) == 0 {
			return err
		}
		fmt.Fprintln(out, "\nRollups that were certified and ordered last:")
		rows := make([][]string, len(recent.Rollups))
		for i, r := range recent.Rollups {
			rows[i] = []string{strconv.Itoa(int(r.Node)), strconv.Itoa(int(r.Epoch)), strconv.Itoa(int(r.Window)), grouped(uint64(r.Acks)), grouped(r.Units), r.Id[:16], fmt.Sprint(r.Signers)}
		}
		table(out, []string{">node", ">epoch", ">window", ">acks", ">units", "id", "signers"}, rows)
		return nil
	}
	return cmd
}
