package api

import (
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/types/dynamicpb"
)

// A message of zeros says all of them, and reads back as the same.
func TestZeros(t *testing.T) {
	codec := jsonCodec{"json"}
	messages := File_waybill_proto.Messages()
	for i := range messages.Len() {
		d := messages.Get(i)
		text, err := codec.Marshal(dynamicpb.NewMessage(d))
		if err != nil {
			t.Fatal(err)
		}
		var said map[string]any
		if err := json.Unmarshal(text, &said); err != nil {
			t.Fatal(err)
		}
		for j := range d.Fields().Len() {
			f := d.Fields().Get(j)
			if _, ok := said[f.JSONName()]; ok == f.HasPresence() {
				t.Errorf("%s of zeros: %s is said: %t", d.FullName(), f.JSONName(), ok)
			}
		}
		if err := codec.Unmarshal(text, dynamicpb.NewMessage(d)); err != nil {
			t.Errorf("%s: %v", d.FullName(), err)
		}
	}
	if messages.Len() < 20 {
		t.Errorf("%d messages", messages.Len())
	}
	if _, err := codec.Marshal("text"); err == nil {
		t.Error("what is no message is written")
	}
	if codec.Unmarshal(nil, new(Rollup)) == nil || codec.Unmarshal([]byte("{}"), t) == nil ||
		codec.Unmarshal([]byte(`{"node": -1}`), new(Rollup)) == nil {
		t.Error("nothing, or something else, is read")
	}
}
